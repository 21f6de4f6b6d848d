"""The head of MMCosine, whose logits are cosines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.methods.mmcosine.config import CosineHeadConfig
from ibml.models.fusion import Features
from ibml.models.heads import LateFusionHead

FLOOR = 1e-12
"""Lower bound of norms."""


class CosineHead(LateFusionHead):
    """o_m = scale * cos(z_m, W_m[c]) for each class c, and o = sum_m o_m (MMCosine, Xu et al., ICASSP 2023).

    While `normalised` is false, plain inner products, o_m = W_m z_m. Which of the two is part of the state.
    """

    normalised: Tensor

    def __init__(
        self,
        options: CosineHeadConfig,
        modalities: Sequence[str],
        widths: Sequence[int],
        classes: int,
    ):
        super().__init__()
        self.widths, self.scale = tuple(widths), options.scale
        self.head = nn.Linear(sum(widths), classes, bias=False)
        self.register_buffer("normalised", torch.tensor(True))

    def unimodal_logits(self, features: Features) -> Tensor:
        return torch.stack(
            [
                self._compute_logits(z, columns)
                for z, columns in zip(features, self.head.weight.split(self.widths, 1), strict=True)
            ]
        )

    def _compute_logits(self, z: Tensor, weight: Tensor) -> Tensor:
        z = z.to(weight.dtype)  # half precision has no number as small as the floor
        cosines = F.linear(F.normalize(z, dim=1, eps=FLOOR), F.normalize(weight, dim=1, eps=FLOOR))
        return torch.where(self.normalised, self.scale * cosines, F.linear(z, weight))

    def combine(self, parts: Tensor) -> Tensor:
        return parts.sum(0)
