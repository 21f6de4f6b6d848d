"""ibml: hyperparameter search and ablations for balanced multimodal learning."""

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

# Messages go to the logger `ibml`; a program that does not configure logging sees none.
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
"""Public names are imported on first use: the command line needs none of them for `--help`."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
