"""Configurations of training methods. `ibml.methods` has one file a method, with its formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ibml.config.methods.balancing import (
    AGMConfig,
    AuxiliaryConfig,
    GBlendingConfig,
    LFMConfig,
    MLAConfig,
    MMCosineConfig,
    MMParetoConfig,
    ModalityValuationConfig,
    OGMGEConfig,
    PMRConfig,
    ReconBoostConfig,
)
from ibml.config.methods.base import JointConfig, MethodPart, UnimodalConfig
from ibml.config.methods.ibml import IBMLConfig
from ibml.config.plugins import Kind, PluginConfig, resolved

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class MethodPluginConfig(PluginConfig, MethodPart):
    """A method of another package."""

    kind: ClassVar[Kind] = "method"

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        return super().canonical(trial) | {"target": resolved(self.kind, self.target)}


MethodConfig = Annotated[
    JointConfig
    | UnimodalConfig
    | AuxiliaryConfig
    | IBMLConfig
    | OGMGEConfig
    | AGMConfig
    | PMRConfig
    | MMParetoConfig
    | MLAConfig
    | MMCosineConfig
    | GBlendingConfig
    | ReconBoostConfig
    | LFMConfig
    | ModalityValuationConfig
    | MethodPluginConfig,
    Field(discriminator="type"),
]

__all__ = [
    "AGMConfig",
    "AuxiliaryConfig",
    "GBlendingConfig",
    "IBMLConfig",
    "JointConfig",
    "LFMConfig",
    "MLAConfig",
    "MMCosineConfig",
    "MMParetoConfig",
    "MethodConfig",
    "MethodPart",
    "MethodPluginConfig",
    "ModalityValuationConfig",
    "OGMGEConfig",
    "PMRConfig",
    "ReconBoostConfig",
    "UnimodalConfig",
]
