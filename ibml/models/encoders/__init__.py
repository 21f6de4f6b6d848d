"""Encoders: one modality's input (n, ...) -> features (n, `config.features`)."""

from __future__ import annotations

from torch import nn

from ibml.config.encoders import EncoderConfig
from ibml.models.encoders.mlp import mlp

__all__ = ["build_encoder"]


def build_encoder(config: EncoderConfig, shape: tuple[int, ...]) -> nn.Module:
    """The encoder for samples of the given shape; raises `ValueError` where the two do not fit."""
    if config.type == "plugin":
        made: nn.Module = config.implementation(config.typed_options, shape, config.features)
        return made
    if len(shape) != 1:
        raise ValueError(f"encoder {config.type!r} takes vectors, but a sample has shape {shape}")
    return mlp(config, shape[0])
