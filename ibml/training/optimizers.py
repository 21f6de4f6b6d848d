"""Construction of optimizers from their configurations."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ibml.config.optimization import OptimizerConfig


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Build the optimizer of a trial.

    Weight decay applies to every parameter, as in the paper's runs. The optimizer is fused: it runs
    one kernel for all parameters, and with scaled gradients it tests on the device whether they are
    finite.

    Args:
        config: Configuration of the optimizer.
        parameters: Parameters to train.

    Returns:
        An optimizer of torch.
    """
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
            betas = (config.betas[0], config.betas[1])
            return torch.optim.Adam(parameters, config.lr, betas, weight_decay=decay, fused=True)
        case "adamw":
            betas = (config.betas[0], config.betas[1])
            return torch.optim.AdamW(parameters, config.lr, betas, weight_decay=decay, fused=True)


def _fill_momentum_buffers(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Start missing momentum buffers at zero, which is equivalent to starting at the gradient.

    The fused kernel needs buffers for all parameters or for none. A method may train some
    parameters first, whose buffers then exist alone.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter not in optimizer.state:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
