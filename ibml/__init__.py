"""ibml: hyperparameter search and ablations for balanced multimodal learning."""

from ibml.api import ablate, load_model, reproduce, train, tune
from ibml.common.errors import ConfigError
from ibml.common.version import __version__
from ibml.config.trial import TrialConfig
from ibml.queries import table
from ibml.study.results import Ablation

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
