"""The configuration of IBML. `ibml.methods.ibml` has its formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ibml.config.base import Config, NonNegative
from ibml.config.methods.base import JOINT, Ramp, Window, WindowedPart

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class IBMLWindow(Window):
    """The paper's runs have [1, 90) of 100 epochs."""

    first_epoch: Annotated[int, Field(ge=0)] = 1


class BIOConfig(Config):
    """Balance Information Optimization: weight of the lagging modalities' own loss; 0 is off."""

    weight: NonNegative = 1.0
    ramp: Ramp = "constant"


class TCMConfig(Config):
    """Task Complexity Modulation: noise on the leading modalities' input; rate 0 is off.

    `rate` multiplies the probability clip(rho, 0, 10) / 10 of the paper; `noise_scale` multiplies the
    noise's standard deviation, that of the batch.
    """

    rate: NonNegative = 1.0
    noise_scale: NonNegative = 1.0
    ramp: Ramp = "constant"

    @property
    def on(self) -> bool:
        return self.rate > 0 and self.noise_scale > 0


class IBMLConfig(WindowedPart):
    """Information-balanced multimodal learning: BIO and TCM (Qin et al. 2026)."""

    type: Literal["ibml"] = "ibml"
    bio: BIOConfig = BIOConfig()
    tcm: TCMConfig = TCMConfig()
    window: IBMLWindow = IBMLWindow()

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        plain = super().canonical(trial)
        if not self.tcm.on:
            del plain["tcm"]
        if self.bio.weight == 0:
            del plain["bio"]
        return plain if "tcm" in plain or "bio" in plain else dict(JOINT)
