"""Configuration of late fusion; see `ibml.models.fusions.late.fusion`."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.fusion import BaseFusionConfig


class LateConfig(BaseFusionConfig):
    """One classifier per modality; their probabilities are averaged."""

    implementation: ClassVar[str] = "ibml.models.fusions.late.fusion:Late"
    type: Literal["late"] = "late"
    """One classifier per modality; their probabilities are averaged."""
