"""ibml: hyperparameter search and ablations for balanced multimodal learning."""

import logging

from ibml.api import ablate, load_model, reproduce, train, tune
from ibml.common.errors import ConfigError
from ibml.common.version import __version__
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
