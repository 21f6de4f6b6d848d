"""Configurations of encoders: a modality's input (n, ...) -> features (n, `features`)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from ibml.config.base import Config, Count, Items
from ibml.config.plugins import Kind, PluginConfig


class MLPConfig(Config):
    """Fully connected layers over a vector, each followed by the activation, the last one too."""

    type: Literal["mlp"] = "mlp"
    hidden: Items[Count] = (128,)
    features: Count = 64
    activation: Literal["relu", "tanh", "gelu", "identity"] = "relu"
    bias: bool = True


class EncoderPluginConfig(PluginConfig):
    """An encoder of another package."""

    kind: ClassVar[Kind] = "encoder"
    features: Count = 64


USUAL_TYPE = "mlp"


def _with_type(encoder: Any) -> Any:
    return {"type": USUAL_TYPE, **encoder} if isinstance(encoder, dict) else encoder


EncoderConfig = Annotated[
    Annotated[MLPConfig | EncoderPluginConfig, Field(discriminator="type")], BeforeValidator(_with_type)
]
Encoders = Annotated[dict[str, EncoderConfig], Field(default_factory=lambda: {"default": MLPConfig()})]
"""An encoder per modality; `default` serves the modalities that have none of their own."""
