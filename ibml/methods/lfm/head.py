"""The head of LFM, which averages logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.methods.lfm.config import MeanHeadConfig
from ibml.models.fusion import Features
from ibml.models.heads import LateFusionHead


class MeanHead(LateFusionHead):
    """o_m = W_m z_m + b_m and o = mean_m o_m (LFM, Yang et al., NeurIPS 2024)."""

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
        return torch.stack([head(z) for head, z in zip(self.heads, features, strict=True)])

    def combine(self, parts: Tensor) -> Tensor:
        return parts.mean(0)
