"""Late fusion: one classifier per modality, probabilities averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.late.config import LateConfig


class Late(Fusion):
    """o = log mean_m softmax(W_m z_m + b_m): one classifier per modality, probabilities averaged."""

    def __init__(
        self, options: LateConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, features: Features) -> Tensor:
        each = torch.stack(
            [head(z).log_softmax(1) for head, z in zip(self.heads, features, strict=True)]
        )
        return each.logsumexp(0) - math.log(len(self.heads))
