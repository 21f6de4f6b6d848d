"""Configuration of IBML; see `ibml.methods.ibml.method` for the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from ibml.config.base import Config, NonNegative
from ibml.config.methods.base import JOINT, Window, WindowedMethodConfig
from ibml.config.schedule import Ramp, ramp

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class IBMLWindow(Window):
    """Window of IBML; the paper's runs use [1, 90) of 100 epochs."""

    first_epoch: Annotated[int, Field(ge=0)] = 1
    """First epoch in which IBML is active; epochs count from 0. In epoch 0 the memory has no
    predictions yet."""


class RatesConfig(Config):
    """Rates that decide which modality leads; the defaults are the paper's."""

    memory: Literal["epoch", "step"] = "epoch"
    """Predictions that the rates use: `epoch`, those of the last visit to each sample; `step`,
    those of the current weights, which needs one more forward pass per step."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Weight of the previous value in the exponential average of the rates over steps, from 0
    (no average) to below 1."""
    per_class: bool = False
    """Compute the rates separately for the samples of each class."""


class BIOConfig(Config):
    """Balance Information Optimization: an additional loss for lagging modalities."""

    weight: NonNegative = 1.0
    """Weight of the loss of a lagging modality; 0 switches BIO off."""
    ramp: Ramp = "constant"
    """Course of the weight over the window."""
    rule: Literal["on_off", "lag"] = "on_off"
    """Weight by lag: `on_off` (the paper's), the same for every lagging modality; `lag`, times
    1 - rho."""


class TCMConfig(Config):
    """Task Complexity Modulation: perturbed inputs of leading modalities.

    `rate` multiplies the paper's probability clip(rho, 0, 10) / 10. `noise_scale` multiplies the
    standard deviation of the noise, which is that of the batch, and applies to `kind: noise` only.
    """

    rate: NonNegative = 1.0
    """Factor of the probability that a sample of a leading modality is perturbed; 0 switches TCM
    off."""
    noise_scale: NonNegative = 1.0
    """For `kind: noise`: standard deviation of the noise, in standard deviations of the batch."""
    ramp: Ramp = "constant"
    """Course of the rate over the window."""
    kind: Literal["noise", "feature_dropout", "modality_dropout", "mixup"] = "noise"
    """Perturbation of the drawn samples: `noise`, Gaussian noise (the paper's); `feature_dropout`,
    single values are set to zero; `modality_dropout`, the whole input is set to zero; `mixup`, the
    sample is mixed with another one of its class."""
    strength: Annotated[float, Field(gt=0, le=1)] = 0.5
    """For `feature_dropout` the share of values set to zero, for `mixup` the share of the other
    sample; above 0, at most 1."""

    @property
    def enabled(self) -> bool:
        """True if TCM can change an input."""
        return self.rate > 0 and (self.noise_scale > 0 or self.kind != "noise")

    @field_validator("strength")
    @classmethod
    def _check_strength(cls, strength: float, others: ValidationInfo) -> float:
        if strength == 1 and others.data.get("kind") == "feature_dropout":
            raise ValueError("feature_dropout of 1 leaves no value; that is kind: modality_dropout")
        return strength

    def build_canonical_form(self) -> dict[str, Any]:
        """Return the fields that affect the result for this kind, as plain data.

        The paper's kind is left out: keys from before other kinds existed stay valid.
        """
        plain: dict[str, Any] = self.model_dump(mode="json")
        unused = {"noise": {"kind", "strength"}, "modality_dropout": {"noise_scale", "strength"}}
        for name in unused.get(self.kind, {"noise_scale"}):
            del plain[name]
        return plain


class IBMLConfig(WindowedMethodConfig):
    """Information-balanced multimodal learning: BIO and TCM (Qin et al. 2026), with variants."""

    implementation: ClassVar[str] = "ibml.methods.ibml.method:IBML"
    type: Literal["ibml"] = "ibml"
    """IBML (Qin et al., TPAMI 2026)."""
    bio: BIOConfig = BIOConfig()
    """Balance Information Optimization: additional losses of lagging modalities."""
    tcm: TCMConfig = TCMConfig()
    """Task Complexity Modulation: perturbed inputs of leading modalities."""
    rates: RatesConfig = RatesConfig()
    """Computation of the rates that decide which modality leads."""
    window: IBMLWindow = IBMLWindow()
    """Epochs in which IBML is active; outside the window, training is joint."""

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return the fields that affect the result, as plain data.

        Variants with the paper's values are left out: keys from before the variants existed stay
        valid.
        """
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
        """Return the weight of BIO in an epoch.

        Args:
            epochs: Number of epochs of the training.
            epoch: The epoch, from 0.

        Returns:
            The weight; 0 outside the window.
        """
        return self.bio.weight * ramp(self.bio.ramp, self.window.epochs(epochs), epoch)

    def compute_tcm_rate(self, epochs: int, epoch: int) -> float:
        """Return the rate of TCM in an epoch.

        Args:
            epochs: Number of epochs of the training.
            epoch: The epoch, from 0.

        Returns:
            The rate; 0 outside the window and if TCM is switched off.
        """
        if not self.tcm.enabled:
            return 0.0
        return self.tcm.rate * ramp(self.tcm.ramp, self.window.epochs(epochs), epoch)

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """Return the fields that affect an epoch, with the values of weight and rate at it.

        Smoothed rates and those of `memory: step` affect every epoch: they have a state, or a
        forward pass, outside the window too.
        """
        form = self.build_canonical_form(trial)
        if form == JOINT:
            return form
        weight = self.compute_bio_weight(trial.trainer.epochs, epoch)
        rate = self.compute_tcm_rate(trial.trainer.epochs, epoch)
        inputs: dict[str, Any] = {"type": "ibml"} if weight or rate else dict(JOINT)
        if weight:
            inputs["bio"] = {**form["bio"], "weight": weight, "ramp": None}
        if rate:
            inputs["tcm"] = {**form["tcm"], "rate": rate, "ramp": None}
        if self.rates.smoothing or (self.rates.per_class and (weight or rate)):
            inputs["rates"] = form["rates"]
        if self.rates.memory == "step":
            inputs["memory"] = "step"
        return inputs
