"""Number formats of training: float32, float64, or autocast with float32 weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Number formats of forward pass, backward pass and update.

    fp16 scales the loss, since small gradients would underflow.

    Args:
        name: `float32` or `float64` for weights and computation, or `bf16` or `fp16` for autocast
            with float32 weights.
        device: Device of the trial.

    Attributes:
        dtype: Number format of weights, features and metrics.
        autocast: Context manager of forward passes.
        scaler: Scaler of the loss; disabled except for fp16.

    Example:
        >>> import torch
        >>> from ibml.training.precision import Precision
        >>> precision = Precision("bf16", torch.device("cpu"))
        >>> with precision.autocast:
        ...     logits = torch.nn.Linear(3, 2)(torch.ones(1, 3))
        >>> logits.dtype, precision.dtype
        (torch.bfloat16, torch.float32)
    """

    def __init__(self, name: Literal["float32", "float64", "bf16", "fp16"], device: torch.device):
        self._arguments = (name, device)
        self.dtype = torch.float64 if name == "float64" else torch.float32
        self.autocast: AbstractContextManager[Any] = nullcontext()
        if name in _AUTOCAST:
            self.autocast = torch.autocast(device.type, dtype=_AUTOCAST[name])
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def create_copy(self) -> Precision:
        """Return the same number formats with a separate scaler, for another training."""
        return Precision(*self._arguments)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the scaled loss."""
        self.scaler.scale(loss).backward()

    def update(self, optimizer: torch.optim.Optimizer) -> None:
        """Unscale the gradients, run the optimizer if they are finite, and adapt the scale."""
        self.scaler.step(optimizer)
        self.scaler.update()
