"""Sum: one linear head per modality, logits added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.sum.config import SumConfig


class Sum(Fusion):
    """o = sum_m (W_m z_m + b_m) and o_m = W_m z_m + b_m."""

    splits_logits = True

    def __init__(
        self, options: SumConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, features: Features) -> Tensor:
        return self.unimodal_logits(features).sum(0)

    def unimodal_logits(self, features: Features) -> Tensor:
        return torch.stack([head(z) for head, z in zip(self.heads, features, strict=True)])

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        parts = self.unimodal_logits(features)
        return parts.sum(0), parts
