"""Configuration of concatenation; see `ibml.models.fusions.concat.fusion`."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.fusion import BaseFusionConfig


class ConcatConfig(BaseFusionConfig):
    """One linear head over the concatenated features."""

    implementation: ClassVar[str] = "ibml.models.fusions.concat.fusion:Concat"
    type: Literal["concat"] = "concat"
    """One linear head over the concatenated features."""
