"""ibml: hyperparameter search and ablations for balanced multimodal learning."""

import logging

from ibml.api import Ablation, ablate, load_model, reproduce, train, tune
from ibml.config.base import ConfigError
from ibml.config.trial import TrialConfig
from ibml.reading import table
from ibml.version import __version__

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
