"""Training methods, one file a method."""

from __future__ import annotations

from ibml.config.trial import TrialConfig
from ibml.methods.base import Batch, Method, StepLog
from ibml.methods.ibml import IBML
from ibml.methods.precision import Precision
from ibml.models.multimodal import MultimodalModel

__all__ = ["Batch", "Method", "Precision", "StepLog", "build_method"]


def build_method(config: TrialConfig, model: MultimodalModel, samples: int, precision: Precision) -> Method:
    """The method of a trial; `joint` and `unimodal` differ in the model alone."""
    if config.method.type == "ibml":
        return IBML(config, config.method, model, samples, precision)
    if config.method.type == "plugin":
        made: Method = config.method.implementation(config, config.method.typed_options, model, samples, precision)
        return made
    return Method(config, config.method, model, samples, precision)
