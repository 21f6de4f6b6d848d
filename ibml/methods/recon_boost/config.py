"""Configuration of ReconBoost; see `ibml.methods.recon_boost.method` for the formulas."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ibml.config.base import Count, NonNegative
from ibml.config.fusion import BaseFusionConfig
from ibml.config.methods.base import LATE_FUSIONS, ComparingMethodConfig


class BoostedHeadConfig(BaseFusionConfig):
    """One perceptron for all modalities; the sum of the logits has a learned scale."""

    implementation: ClassVar[str] = "ibml.methods.recon_boost.head:BoostedHead"
    type: Literal["boosted"] = "boosted"
    """The head of ReconBoost."""
    hidden: Count = 256
    """Width of the hidden layer."""


class ReconBoostConfig(ComparingMethodConfig):
    """Boosting the modalities in turn, reconciled with the others (Hua et al., ICML 2024)."""

    implementation: ClassVar[str] = "ibml.methods.recon_boost.method:ReconBoost"
    fusions: ClassVar[tuple[str, ...] | None] = LATE_FUSIONS
    refusal: ClassVar[str] = "adds up what one head says of each modality, in place of a fusion"
    same_widths: ClassVar[str] = "has one head for all modalities"
    type: Literal["recon_boost"] = "recon_boost"
    """ReconBoost (Hua et al., ICML 2024)."""
    weight1: NonNegative = 5.0
    """Weight of the labels in the boosting loss."""
    weight2: NonNegative = 1.0
    """Weight of the other modalities' predictions, which the boosting loss subtracts from the
    labels."""
    alpha: NonNegative = 0.5
    """Weight of the squared difference from the predictions of the previous stage's modality."""
    stage_epochs: Count = 4
    """Epochs of a stage's first phase, which boosts one modality."""
    correct_epochs: Annotated[int, Field(ge=0)] = 4
    """Epochs of a stage's second phase, which trains everything on the joint loss; 0 skips it."""

    @property
    def head(self) -> BaseFusionConfig:
        """Perceptron shared by all modalities."""
        return BoostedHeadConfig()
