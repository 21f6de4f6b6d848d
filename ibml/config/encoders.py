"""Configurations of encoders: a modality's input (n, ...) -> features (n, `features`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ibml.config.base import Config, Count, Items


class MLPConfig(Config):
    """Fully connected layers over a vector, each followed by the activation, the last one too."""

    type: Literal["mlp"] = "mlp"
    hidden: Items[Count] = (128,)
    features: Count = 64
    activation: Literal["relu", "tanh", "gelu", "identity"] = "relu"
    bias: bool = True


EncoderConfig = MLPConfig
Encoders = Annotated[dict[str, EncoderConfig], Field(default_factory=lambda: {"default": MLPConfig()})]
"""An encoder per modality; `default` serves the modalities that have none of their own."""
