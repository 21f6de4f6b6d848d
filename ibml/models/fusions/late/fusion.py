"""Late fusion: one classifier per modality, probabilities averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.late.config import LateConfig


class Late(Fusion):
    """One classifier per modality, whose probabilities are averaged.

    o = log mean_m softmax(W_m z_m + b_m).

    Args:
        options: Configuration of the fusion.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
    """

    def __init__(
        self, options: LateConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, features: Features) -> Tensor:
        """Return the joint logits, (n, C)."""
        pairs = zip(self.heads, features, strict=True)
        log_probability = torch.stack([head(z).log_softmax(1) for head, z in pairs])
        return log_probability.logsumexp(0) - math.log(len(self.heads))
