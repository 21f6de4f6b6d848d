"""Multilayer perceptron over a vector."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from ibml.inputs import InputSpec
from ibml.models.encoders.mlp.config import MLPConfig

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "identity": nn.Identity,
}


class MLP(nn.Sequential):
    """Multilayer perceptron: vectors, (n, d) -> (n, features).

    Each linear layer is followed by the activation, the last one too.

    Args:
        options: Configuration of the encoder.
        spec: Samples of the modality.
    """

    def __init__(self, options: MLPConfig, spec: InputSpec):
        layers: list[nn.Module] = []
        for before, after in pairwise((spec.shape[0], *options.hidden, options.features)):
            layers += [
                nn.Linear(before, after, bias=options.bias),
                _ACTIVATIONS[options.activation](),
            ]
        super().__init__(*layers)
