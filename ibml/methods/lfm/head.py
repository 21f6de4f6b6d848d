"""Head of LFM, which averages logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.methods.lfm.config import MeanHeadConfig
from ibml.models.fusion import Features
from ibml.models.heads import LateFusionHead


class MeanHead(LateFusionHead):
    """Linear head per modality, whose logits are averaged (LFM, Yang et al., NeurIPS 2024).

    o_m = W_m z_m + b_m and o = mean_m o_m.

    Args:
        options: Configuration of the head.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
    """

    def __init__(
        self,
        options: MeanHeadConfig,
        modalities: Sequence[str],
        widths: Sequence[int],
        classes: int,
    ):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def unimodal_logits(self, features: Features) -> Tensor:
        """Return o_1 .. o_M, (M, n, C)."""
        return torch.stack([head(z) for head, z in zip(self.heads, features, strict=True)])

    def combine(self, parts: Tensor) -> Tensor:
        """Return the mean of the unimodal logits, (n, C)."""
        return parts.mean(0)
