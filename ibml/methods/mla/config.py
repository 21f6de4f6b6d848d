"""Configuration of MLA; see `ibml.methods.mla.method` for the formulas."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.fusion import BaseFusionConfig
from ibml.config.methods.base import LATE_FUSIONS, ComparingMethodConfig


class SharedHeadConfig(BaseFusionConfig):
    """One linear head for all modalities; more certain ones have a larger weight."""

    implementation: ClassVar[str] = "ibml.methods.mla.head:SharedHead"
    type: Literal["shared"] = "shared"
    """The shared head of MLA."""


class MLAConfig(ComparingMethodConfig):
    """Multimodal learning with alternating unimodal adaptation (Zhang et al., CVPR 2024)."""

    implementation: ClassVar[str] = "ibml.methods.mla.method:MLA"
    fusions: ClassVar[tuple[str, ...] | None] = LATE_FUSIONS
    refusal: ClassVar[str] = "has one linear head for all modalities in place of a fusion"
    same_widths: ClassVar[str] = "has one head for all modalities"
    type: Literal["mla"] = "mla"
    """MLA (Zhang et al., CVPR 2024)."""
    normalise: bool = False
    """Divide the projection by its Frobenius norm after each update."""

    @property
    def head(self) -> BaseFusionConfig:
        """Linear head shared by all modalities."""
        return SharedHeadConfig()
