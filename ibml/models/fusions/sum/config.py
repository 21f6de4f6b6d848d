"""Configuration of the sum of logits; see `ibml.models.fusions.sum.fusion`."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.fusion import BaseFusionConfig


class SumConfig(BaseFusionConfig):
    """One linear head per modality; the logits are added."""

    implementation: ClassVar[str] = "ibml.models.fusions.sum.fusion:Sum"
    type: Literal["sum"] = "sum"
    """One linear head per modality; the logits are added."""
