"""A multilayer perceptron over a vector."""

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
    """(n, d) -> (n, options.features): linear layers, each followed by the activation."""

    def __init__(self, options: MLPConfig, spec: InputSpec):
        layers: list[nn.Module] = []
        for before, after in pairwise((spec.shape[0], *options.hidden, options.features)):
            layers += [
                nn.Linear(before, after, bias=options.bias),
                _ACTIVATIONS[options.activation](),
            ]
        super().__init__(*layers)
