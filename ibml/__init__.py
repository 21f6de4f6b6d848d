"""Ablation studies and hyperparameter search for balanced multimodal learning.

`ablate` runs a study and `tune` runs a search. Both are resumable and store their results in
MLflow. `table`, `reproduce` and `load_model` use the stored results. `train` trains a single trial,
given as a `TrialConfig`, without a store.

Example:
    >>> import ibml
    >>> ablation = ibml.ablate("ablations/smoke.yaml", backend="local", workers=1)
    >>> frame = ibml.table("smoke")
    >>> config = ibml.TrialConfig(data={"type": "mfeat"}, trainer={"epochs": 2})
    >>> config.method.type
    'ibml'
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ibml.common.version import __version__

if TYPE_CHECKING:
    from ibml.api import ablate, load_model, reproduce, train, tune
    from ibml.common.errors import ConfigError
    from ibml.config.trial import TrialConfig
    from ibml.queries import table
    from ibml.study.results import Ablation

# Messages are logged by the logger `ibml`; a program that does not configure logging sees none.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Ablation",
    "ConfigError",
    "TrialConfig",
    "__version__",
    "ablate",
    "load_model",
    "reproduce",
    "table",
    "train",
    "tune",
]

_MODULES = {
    "Ablation": "ibml.study.results",
    "ConfigError": "ibml.common.errors",
    "TrialConfig": "ibml.config.trial",
    "ablate": "ibml.api",
    "load_model": "ibml.api",
    "reproduce": "ibml.api",
    "table": "ibml.queries",
    "train": "ibml.api",
    "tune": "ibml.api",
}
"""Module of every public name, imported on first use: `ibml --help` needs none of them."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
