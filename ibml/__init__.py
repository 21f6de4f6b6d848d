"""ibml: hyperparameter search and ablations for balanced multimodal learning."""

from ibml.api import Ablation, ablate, load_model, reproduce, train, tune
from ibml.config.base import ConfigError
from ibml.config.trial import TrialConfig
from ibml.reading import table
from ibml.version import __version__

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
