"""Concatenation: one linear head over all features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.concat.config import ConcatConfig


class Concat(Fusion):
    """o = W [z_1; ...; z_M] + b and o_m = W_m z_m + b / M, W_m the columns of W for z_m."""

    splits_logits = True

    def __init__(
        self, options: ConcatConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.widths = tuple(widths)
        self.head = nn.Linear(sum(widths), classes)

    def forward(self, features: Features) -> Tensor:
        logits: Tensor = self.head(torch.cat(list(features), dim=1))
        return logits

    def unimodal_logits(self, features: Features) -> Tensor:
        bias = self.head.bias / len(self.widths)
        columns = self.head.weight.split(self.widths, dim=1)
        return torch.stack(
            [F.linear(z, weight, bias) for z, weight in zip(features, columns, strict=True)]
        )

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        parts = self.unimodal_logits(features)
        return parts.sum(0), parts
