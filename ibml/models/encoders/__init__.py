"""Encoders: one modality's input (n, ...) -> features (n, `config.features`)."""

from __future__ import annotations

from torch import nn

from ibml.config.encoders import EncoderConfig, taken
from ibml.inputs import InputSpec
from ibml.models.encoders.dgcnn import DGCNN
from ibml.models.encoders.mlp import mlp
from ibml.models.encoders.pretrained import Pretrained
from ibml.models.encoders.resnet import ResNet18
from ibml.models.encoders.small_cnn import SmallCNN
from ibml.models.encoders.text_gru import TextGRU

__all__ = ["build_encoder"]

_DIMENSIONS = {"mlp": (1,), "resnet18": (3, 4), "small_cnn": (3, 4), "text_gru": (1,), "dgcnn": (2,)}
"""Those that one sample of what an encoder takes can have; of `pretrained` its model decides."""


def build_encoder(config: EncoderConfig, spec: InputSpec) -> nn.Module:
    """The encoder for such samples; raises `ValueError` where the two do not fit, `IbmlError` where a file of weights
    cannot be used."""
    shape = spec.shape
    if len(shape) not in _DIMENSIONS.get(config.type, (len(shape),)):
        raise ValueError(f"encoder {config.type!r} takes {taken(config)}, but a sample has shape {shape}")
    match config.type:
        case "mlp":
            return mlp(config, shape[0])
        case "resnet18":
            return ResNet18(config, shape)
        case "small_cnn":
            return SmallCNN(config, shape)
        case "text_gru":
            return TextGRU(config, spec)
        case "dgcnn":
            return DGCNN(config, shape)
        case "pretrained":
            return Pretrained(config, spec)
        case "plugin":
            made: nn.Module = config.implementation(config.typed_options, shape, config.features)
            return made
