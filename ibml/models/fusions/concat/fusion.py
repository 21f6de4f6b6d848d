"""Concatenation: one linear head over all features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.concat.config import ConcatConfig


class Concat(Fusion):
    """Linear head over the concatenated features.

    o = W [z_1; ...; z_M] + b and o_m = W_m z_m + b / M, where W_m are the columns of W for z_m.

    Args:
        options: Configuration of the fusion.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
    """

    splits_logits = True

    def __init__(
        self, options: ConcatConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.widths = tuple(widths)
        self.head = nn.Linear(sum(widths), classes)

    def forward(self, features: Features) -> Tensor:
        """Return the joint logits, (n, C)."""
        logits: Tensor = self.head(torch.cat(list(features), dim=1))
        return logits

    def unimodal_logits(self, features: Features) -> Tensor:
        """Return o_1 .. o_M, (M, n, C)."""
        bias = self.head.bias / len(self.widths)
        columns = self.head.weight.split(self.widths, dim=1)
        pairs = zip(features, columns, strict=True)
        return torch.stack([F.linear(z, weight, bias) for z, weight in pairs])

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return joint logits, (n, C), and unimodal logits, (M, n, C)."""
        parts = self.unimodal_logits(features)
        return parts.sum(0), parts
