"""Configuration of IBML. `ibml.methods.ibml.method` has the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from ibml.config.base import Config, NonNegative
from ibml.config.methods.base import JOINT, Window, WindowedMethodConfig
from ibml.config.schedule import Ramp, ramp

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class IBMLWindow(Window):
    """The paper's runs have [1, 90) of 100 epochs."""

    first_epoch: Annotated[int, Field(ge=0)] = 1
    """The first epoch in which IBML acts; epochs count from 0. In epoch 0 the memory has no predictions yet."""


class RatesConfig(Config):
    """How the rates that say who leads are made; the defaults are the paper's."""

    memory: Literal["epoch", "step"] = "epoch"
    """The predictions that the rates use: `epoch`, those of the last visit to each sample; `step`, those of the current
    weights, which takes one more forward pass per step."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Weight of the previous average in the exponential average of the rates over steps, from 0 (none) to below 1."""
    per_class: bool = False
    """Compute the rates separately for the samples of each class."""


class BIOConfig(Config):
    """Balance Information Optimization: weight of the lagging modalities' own loss; 0 is off."""

    weight: NonNegative = 1.0
    """Weight of a lagging modality's own loss; 0 switches BIO off."""
    ramp: Ramp = "constant"
    """Course of the weight over the window."""
    rule: Literal["on_off", "lag"] = "on_off"
    """`on_off`, the paper's: the weight is the same however far a modality lags. `lag`: times 1 - rho."""


class TCMConfig(Config):
    """Task Complexity Modulation: a harder input of the leading modalities, with noise in the paper; rate 0 is off.

    `rate` multiplies the probability clip(rho, 0, 10) / 10 of the paper; `noise_scale` multiplies the
    noise's standard deviation, that of the batch, and belongs to `kind: noise` alone.
    """

    rate: NonNegative = 1.0
    """Factor of the probability with which a sample of a leading modality is changed; 0 switches TCM off."""
    noise_scale: NonNegative = 1.0
    """Of `kind: noise`: standard deviation of the noise, in standard deviations of the batch."""
    ramp: Ramp = "constant"
    """Course of the rate over the window."""
    kind: Literal["noise", "feature_dropout", "modality_dropout", "mixup"] = "noise"
    """How the drawn samples are changed: `noise`, Gaussian noise (the paper's); `feature_dropout`, single values are
    zeroed; `modality_dropout`, the whole input is zeroed; `mixup`, mixed with another sample of the class."""
    strength: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of `feature_dropout` the share of zeroed values, of `mixup` the share of the other sample; above 0, at most 1."""

    @property
    def enabled(self) -> bool:
        return self.rate > 0 and (self.noise_scale > 0 or self.kind != "noise")

    @field_validator("strength")
    @classmethod
    def _check_strength(cls, strength: float, others: ValidationInfo) -> float:
        if strength == 1 and others.data.get("kind") == "feature_dropout":
            raise ValueError("feature_dropout of 1 leaves no value; that is kind: modality_dropout")
        return strength

    def build_canonical_form(self) -> dict[str, Any]:
        """What of it counts for its kind; the paper's kind is not said."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        unused = {"noise": {"kind", "strength"}, "modality_dropout": {"noise_scale", "strength"}}
        for name in unused.get(self.kind, {"noise_scale"}):
            del plain[name]
        return plain


class IBMLConfig(WindowedMethodConfig):
    """Information-balanced multimodal learning: BIO and TCM (Qin et al. 2026), and variants of both."""

    implementation: ClassVar[str] = "ibml.methods.ibml.method:IBML"
    type: Literal["ibml"] = "ibml"
    """IBML (Qin et al., TPAMI 2026)."""
    bio: BIOConfig = BIOConfig()
    """Balance Information Optimization: own losses of lagging modalities."""
    tcm: TCMConfig = TCMConfig()
    """Task Complexity Modulation: harder inputs of leading modalities."""
    rates: RatesConfig = RatesConfig()
    """How the rates are computed that decide which modality leads."""
    window: IBMLWindow = IBMLWindow()
    """The epochs in which IBML acts; outside the window, training is joint."""

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Variants that are the paper's are not said, so that results of before they existed are found."""
        plain = super().build_canonical_form(trial) | {"tcm": self.tcm.build_canonical_form()}
        if self.rates == RatesConfig():
            del plain["rates"]
        if self.bio.rule == "on_off":
            del plain["bio"]["rule"]
        if not self.tcm.enabled:
            del plain["tcm"]
        if self.bio.weight == 0:
            del plain["bio"]
        return plain if "tcm" in plain or "bio" in plain else dict(JOINT)

    def compute_bio_weight(self, epochs: int, epoch: int) -> float:
        """The weight of BIO in an epoch of so many; 0 outside the window."""
        return self.bio.weight * ramp(self.bio.ramp, self.window.epochs(epochs), epoch)

    def compute_tcm_rate(self, epochs: int, epoch: int) -> float:
        """The rate of TCM in an epoch of so many; 0 outside the window and where it is off."""
        return (
            self.tcm.rate * ramp(self.tcm.ramp, self.window.epochs(epochs), epoch)
            if self.tcm.enabled
            else 0.0
        )

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """The values that weight and rate have. Rates that are averages, or those of the step, are in every epoch."""
        form = self.build_canonical_form(trial)
        if form == JOINT:
            return form
        weight, rate = (
            value(trial.trainer.epochs, epoch)
            for value in (self.compute_bio_weight, self.compute_tcm_rate)
        )
        said: dict[str, Any] = {"type": "ibml"} if weight or rate else dict(JOINT)
        if weight:
            said["bio"] = {**form["bio"], "weight": weight, "ramp": None}
        if rate:
            said["tcm"] = {**form["tcm"], "rate": rate, "ramp": None}
        if self.rates.smoothing or (self.rates.per_class and (weight or rate)):
            said["rates"] = form["rates"]
        if self.rates.memory == "step":
            said["memory"] = "step"
        return said
