"""Configurations of training methods. `ibml.methods` has one file a method, with its formulas."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ibml.config.base import Config, NonNegative
from ibml.config.plugins import Kind, PluginConfig

Ramp = Literal["constant", "linear_up", "linear_down", "cosine"]


class Window(Config):
    """The epochs [first_epoch, stop_epoch) in which a method acts; outside, training is plain joint.

    No `stop_epoch` means: to the end. The paper's runs are [1, 90) of 100 epochs.
    """

    first_epoch: Annotated[int, Field(ge=0)] = 1
    stop_epoch: Annotated[int, Field(ge=1)] | None = None


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


class JointConfig(Config):
    """Plain joint training of all modalities."""

    type: Literal["joint"] = "joint"


class UnimodalConfig(Config):
    """One modality alone: its encoder and a linear head."""

    type: Literal["unimodal"] = "unimodal"
    modality: str


class IBMLConfig(Config):
    """Information-balanced multimodal learning: BIO and TCM (Qin et al. 2026)."""

    type: Literal["ibml"] = "ibml"
    bio: BIOConfig = BIOConfig()
    tcm: TCMConfig = TCMConfig()
    window: Window = Window()


class MethodPluginConfig(PluginConfig):
    """A method of another package."""

    kind: ClassVar[Kind] = "method"


MethodConfig = Annotated[JointConfig | UnimodalConfig | IBMLConfig | MethodPluginConfig, Field(discriminator="type")]
