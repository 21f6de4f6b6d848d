"""Configurations of the methods that IBML is compared with. `ibml.methods` has their formulas and sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from ibml.common.errors import did_you_mean
from ibml.config.base import Count, Findings, NonNegative, Positive
from ibml.config.fusion import (
    BoostedHeadConfig,
    CosineHeadConfig,
    HeadConfig,
    MeanHeadConfig,
    SharedHeadConfig,
)
from ibml.config.methods.base import JOINT, WindowedPart, feature_widths

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig

Heads = Literal["shared", "separate"]
"""Where a modality's own logits come from: the fused head's unimodal logits, or a linear head of their own."""

_LATE = ("concat", "late")
"""What methods with a head of their own take: the default, and what their head is a kind of."""


class AuxiliaryConfig(WindowedPart):
    """Every modality's own loss beside the joint one, weighted alike or by modality."""

    type: Literal["auxiliary"] = "auxiliary"
    weights: Annotated[
        Annotated[dict[str, NonNegative], Tag("(by modality)")] | Annotated[NonNegative, Tag("(all)")],
        Discriminator(lambda value: "(by modality)" if isinstance(value, dict) else "(all)"),
    ] = 1.0
    """One for all modalities, or by modality; 0 for one that is not named."""
    heads: Heads = "shared"

    def weight(self, modality: str) -> float:
        """The weight of a modality's own loss."""
        return self.weights.get(modality, 0.0) if isinstance(self.weights, dict) else self.weights

    def inconsistencies(self, trial: TrialConfig) -> Findings:
        known = trial.data.modalities
        named = self.weights if isinstance(self.weights, dict) else {}
        return super().inconsistencies(trial) + [
            (("method", "weights", name), f"no modality is called {name!r}{did_you_mean(name, known)}")
            for name in named
            if name not in known
        ]

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        weights = {name: self.weight(name) for name in trial.data.modalities}
        return super().canonical(trial) | {"weights": weights} if any(weights.values()) else dict(JOINT)


class ComparingPart(WindowedPart):
    """A method that makes something of how modalities differ."""

    compares: ClassVar[bool] = True


class OGMGEConfig(ComparingPart):
    """On-the-fly gradient modulation with generalization enhancement (Peng et al., CVPR 2022)."""

    type: Literal["ogm_ge"] = "ogm_ge"
    alpha: NonNegative = 0.3
    ge: bool = True
    """Noise of the gradient's own deviation."""

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        return super().canonical(trial) if self.ge or self.alpha else dict(JOINT)


class AGMConfig(ComparingPart):
    """Adaptive gradient modulation by Shapley values of the logits (Li et al., ICCV 2023)."""

    every_subset: ClassVar[bool] = True
    type: Literal["agm"] = "agm"
    alpha: NonNegative = 1.0


class PMRConfig(ComparingPart):
    """Prototypical modal rebalance (Fan et al., CVPR 2023)."""

    type: Literal["pmr"] = "pmr"
    alpha: NonNegative = 1.0
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The share of the old prototypes in the new ones."""
    coefficient: Literal["paper", "release"] = "paper"

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        return super().canonical(trial) if self.alpha else dict(JOINT)


class MMParetoConfig(ComparingPart):
    """Pareto integration of joint and unimodal gradients (Wei & Hu, ICML 2024)."""

    type: Literal["mmpareto"] = "mmpareto"
    gamma: Positive = 1.5
    heads: Heads = "separate"


class MLAConfig(ComparingPart):
    """Multimodal learning with alternating unimodal adaptation (Zhang et al., CVPR 2024)."""

    fusions: ClassVar[tuple[str, ...] | None] = _LATE
    refusal: ClassVar[str] = "has one linear head for all modalities in place of a fusion"
    same_widths: ClassVar[str] = "has one head for all modalities"
    type: Literal["mla"] = "mla"
    normalise: bool = False
    """Divide the projection by its norm after each update."""

    @property
    def head(self) -> HeadConfig:
        return SharedHeadConfig()


class MMCosineConfig(ComparingPart):
    """Cosines of features and class weights as logits (Xu et al., ICASSP 2023)."""

    fusions: ClassVar[tuple[str, ...] | None] = ("concat",)
    refusal: ClassVar[str] = "normalises the weights of one linear head over the concatenated features"
    type: Literal["mmcosine"] = "mmcosine"
    scale: Positive = 10.0

    @property
    def head(self) -> HeadConfig:
        return CosineHeadConfig(scale=self.scale)


class GBlendingConfig(ComparingPart):
    """Gradient blending by overfitting-to-generalization ratios (Wang et al., CVPR 2020)."""

    type: Literal["g_blending"] = "g_blending"
    super_epoch: Annotated[int, Field(ge=2, le=10**9)] = 10
    """How many epochs an estimate of the weights trains, of which it compares the first and the last, and, `online`,
    after how many it is made anew."""
    mode: Literal["online", "offline"] = "online"

    def extra_epochs(self, trial: TrialConfig, done: int) -> int:
        first, stop = self.window.epochs(trial.trainer.epochs)
        acted = max(min(done, stop) - first, 0)
        estimates = -(-acted // self.super_epoch) if self.mode == "online" else min(acted, 1)
        return estimates * (len(trial.modalities) + 1) * self.super_epoch

    def acting(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """The copies of an estimate see the learning rates of epochs to come."""
        form = super().acting(trial, epoch)
        if form == JOINT:
            return form
        rates = trial.schedule.model_dump(mode="json") | {"lr": trial.optimizer.lr}
        return form | {"schedule": rates, "epochs": trial.trainer.epochs}


class ReconBoostConfig(ComparingPart):
    """Boosting the modalities in turn, reconciled with the others (Hua et al., ICML 2024)."""

    fusions: ClassVar[tuple[str, ...] | None] = _LATE
    refusal: ClassVar[str] = "adds up what one head says of each modality, in place of a fusion"
    same_widths: ClassVar[str] = "has one head for all modalities"
    type: Literal["recon_boost"] = "recon_boost"
    weight1: NonNegative = 5.0
    weight2: NonNegative = 1.0
    alpha: NonNegative = 0.5
    stage_epochs: Count = 4
    correct_epochs: Annotated[int, Field(ge=0)] = 4

    @property
    def head(self) -> HeadConfig:
        return BoostedHeadConfig()


class LFMConfig(ComparingPart):
    """Learning to fuse by aligning the modalities first (Yang et al., NeurIPS 2024)."""

    fusions: ClassVar[tuple[str, ...] | None] = _LATE
    refusal: ClassVar[str] = "averages the logits of one head per modality, in place of a fusion"
    type: Literal["lfm"] = "lfm"
    weight: Literal["fitted", "linear"] = "fitted"
    """How the classification's share grows over the epochs; the alignment has the rest."""
    alignment: Literal["js", "infonce"] = "js"

    @property
    def head(self) -> HeadConfig:
        return MeanHeadConfig()

    def inconsistencies(self, trial: TrialConfig) -> Findings:
        found = super().inconsistencies(trial)
        if self.alignment == "infonce" and len(set(feature_widths(trial).values())) > 1:
            found.append((("method", "alignment"), "infonce compares features, which must be equally many"))
        return found

    def acting(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """The classification's share follows from how many epochs there are."""
        form = super().acting(trial, epoch)
        return form if form == JOINT else form | {"epochs": trial.trainer.epochs}


class ModalityValuationConfig(ComparingPart):
    """More of the samples, with the weak modality alone, by Shapley values (Wei et al., CVPR 2024)."""

    every_subset: ClassVar[bool] = True
    type: Literal["modality_valuation"] = "modality_valuation"
    level: Literal["sample", "modality"] = "sample"
    warmup: Annotated[int, Field(ge=0)] = 5
    """Epochs of the window before the first valuation."""
    alpha: NonNegative = 0.5
    """Of the level `modality`: how many samples a gap adds."""
    part: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Of the level `modality`: the share of samples that is valued."""

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        unused = {"alpha", "part"} if self.level == "sample" else set()
        return {name: value for name, value in super().canonical(trial).items() if name not in unused}
