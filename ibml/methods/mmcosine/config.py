"""Configuration of MMCosine; see `ibml.methods.mmcosine.method` for the formulas."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.base import Positive
from ibml.config.fusion import BaseFusionConfig
from ibml.config.methods.base import ComparingMethodConfig


class CosineHeadConfig(BaseFusionConfig):
    """Scaled sum of the cosines between features and class weights of each modality."""

    implementation: ClassVar[str] = "ibml.methods.mmcosine.head:CosineHead"
    type: Literal["cosine"] = "cosine"
    """The cosine head of MMCosine."""
    scale: Positive = 10.0
    """Factor of the cosines, above 0."""


class MMCosineConfig(ComparingMethodConfig):
    """Cosines of features and class weights as logits (Xu et al., ICASSP 2023)."""

    implementation: ClassVar[str] = "ibml.methods.mmcosine.method:MMCosine"
    fusions: ClassVar[tuple[str, ...] | None] = ("concat",)
    refusal: ClassVar[str] = (
        "normalises the weights of one linear head over the concatenated features"
    )
    type: Literal["mmcosine"] = "mmcosine"
    """MMCosine (Xu et al., ICASSP 2023)."""
    scale: Positive = 10.0
    """Factor of the cosines, above 0; it bounds each modality's logits."""

    @property
    def head(self) -> BaseFusionConfig:
        """Head whose logits are cosines."""
        return CosineHeadConfig(scale=self.scale)
