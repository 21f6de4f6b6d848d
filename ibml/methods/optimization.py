"""Optimizers from their configurations."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ibml.config.optimization import OptimizerConfig


def build_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """torch's optimizer; weight decay applies to every parameter, as in the paper's runs."""
    match config.type:
        case "sgd":
            return torch.optim.SGD(
                parameters, config.lr, config.momentum, weight_decay=config.weight_decay, nesterov=config.nesterov
            )
        case "adam":
            return torch.optim.Adam(parameters, config.lr, _pair(config.betas), weight_decay=config.weight_decay)
        case "adamw":
            return torch.optim.AdamW(parameters, config.lr, _pair(config.betas), weight_decay=config.weight_decay)


def _pair(betas: tuple[float, ...]) -> tuple[float, float]:
    return betas[0], betas[1]
