"""Sum: one linear head per modality, logits added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.sum.config import SumConfig


class Sum(Fusion):
    """Linear head per modality, whose logits are added.

    o = sum_m (W_m z_m + b_m) and o_m = W_m z_m + b_m.

    Args:
        options: Configuration of the fusion.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
    """

    splits_logits = True

    def __init__(
        self, options: SumConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, features: Features) -> Tensor:
        """Return the joint logits, (n, C)."""
        return self.unimodal_logits(features).sum(0)

    def unimodal_logits(self, features: Features) -> Tensor:
        """Return o_1 .. o_M, (M, n, C)."""
        return torch.stack([head(z) for head, z in zip(self.heads, features, strict=True)])

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return joint logits, (n, C), and unimodal logits, (M, n, C)."""
        parts = self.unimodal_logits(features)
        return parts.sum(0), parts
