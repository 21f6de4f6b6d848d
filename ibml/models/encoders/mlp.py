"""A multilayer perceptron over a vector."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from ibml.config.encoders import MLPConfig

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "identity": nn.Identity,
}


def mlp(config: MLPConfig, inputs: int) -> nn.Sequential:
    """(n, inputs) -> (n, config.features): linear layers, each followed by the activation."""
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *config.hidden, config.features)):
        layers += [nn.Linear(before, after, bias=config.bias), _ACTIVATIONS[config.activation]()]
    return nn.Sequential(*layers)
