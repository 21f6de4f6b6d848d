"""Number formats of training: float32 or float64 throughout, or autocast over float32 weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """How forward, backward and update run. fp16 scales the loss so that small gradients survive."""

    def __init__(self, name: Literal["float32", "float64", "bf16", "fp16"], device: torch.device):
        self._arguments = (name, device)
        self.dtype = torch.float64 if name == "float64" else torch.float32
        self.autocast: AbstractContextManager[Any] = nullcontext()
        if name in _AUTOCAST:
            self.autocast = torch.autocast(device.type, dtype=_AUTOCAST[name])
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def create_copy(self) -> Precision:
        """The same for another training, whose gradients have a scale of their own."""
        return Precision(*self._arguments)

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()

    def update(self, optimizer: torch.optim.Optimizer) -> None:
        self.scaler.step(optimizer)
        self.scaler.update()
