"""Configuration of the multilayer perceptron."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.base import Count, Items
from ibml.config.encoders import BaseEncoderConfig


class MLPConfig(BaseEncoderConfig):
    """Fully connected layers over a vector; an activation follows each layer, the last one too."""

    implementation: ClassVar[str] = "ibml.models.encoders.mlp.encoder:MLP"
    takes = frozenset({"vector"})
    sample_dimensions: ClassVar[tuple[int, ...] | None] = (1,)
    type: Literal["mlp"] = "mlp"
    """Multilayer perceptron over a vector."""
    hidden: Items[Count] = (128,)
    """Widths of the hidden layers."""
    features: Count = 64
    """Number of features."""
    activation: Literal["relu", "tanh", "gelu", "identity"] = "relu"
    """Activation after each layer, the last one included."""
    bias: bool = True
    """Use a bias in each layer."""
