"""Optimizers from their configurations."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ibml.config.optimization import OptimizerConfig


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """torch's optimizer; weight decay applies to every parameter, as in the paper's runs. It is fused: one kernel for
    all parameters, and with scaled gradients one that asks the device, not the host, whether they are finite."""
    decay = config.weight_decay
    match config.type:
        case "sgd":
            nesterov = config.nesterov
            sgd = torch.optim.SGD(
                parameters,
                config.lr,
                config.momentum,
                weight_decay=decay,
                nesterov=nesterov,
                fused=True,
            )
            if config.momentum:
                sgd.register_step_pre_hook(_fill_momentum_buffers)
            return sgd
        case "adam":
            return torch.optim.Adam(
                parameters, config.lr, _convert_betas(config.betas), weight_decay=decay, fused=True
            )
        case "adamw":
            return torch.optim.AdamW(
                parameters, config.lr, _convert_betas(config.betas), weight_decay=decay, fused=True
            )


def _fill_momentum_buffers(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """The fused kernel takes velocities of all parameters or of none: where a method trains some of them first, those
    of the others start at zero, which gives what starting at the gradient does."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter not in optimizer.state:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _convert_betas(betas: tuple[float, ...]) -> tuple[float, float]:
    return betas[0], betas[1]
