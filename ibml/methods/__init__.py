"""Balancing methods, one folder each: `config.py` without torch, `method.py` with the formulas.

Names of this package that need torch are imported on first use. `ibml.methods.<name>.config` can
therefore be imported without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ibml.config.components.registry import METHODS, create_default
from ibml.config.methods.base import JOINT

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig
    from ibml.methods.base import Batch, Method, StepLog, StepStatistics, Training
    from ibml.models.multimodal import MultimodalModel
    from ibml.training.precision import Precision

__all__ = ["Batch", "Method", "Precision", "StepLog", "StepStatistics", "Training", "build_method"]

_MODULES = {
    **dict.fromkeys(
        ("Batch", "Method", "StepStatistics", "StepLog", "Training"), "ibml.methods.base"
    ),
    "Precision": "ibml.training.precision",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def build_method(
    config: TrialConfig, model: MultimodalModel, samples: int, precision: Precision
) -> Method:
    """Build the method of a trial, built-in or plug-in.

    Args:
        config: Configuration of the trial.
        model: Model that the method trains.
        samples: Number of training samples.
        precision: Number formats of training.

    Returns:
        The method. A balancing method whose parts are all switched off becomes `joint`.
    """
    options = config.effective_method
    if options.build_canonical_form(config) == JOINT:  # every part is switched off
        options = create_default(METHODS, "joint")
    method: Method = options.load_implementation()(
        config, options.typed_options, model, samples, precision
    )
    return method
