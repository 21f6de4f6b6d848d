"""Attention over one token per modality (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.attention.config import AttentionConfig


class Attention(Fusion):
    """One token per modality, Linear_m(z_m) + e_m with e_m learned; one pre-norm transformer encoder layer
    (Vaswani et al. 2017); o = Linear(mean over tokens)."""

    def __init__(
        self,
        options: AttentionConfig,
        modalities: Sequence[str],
        widths: Sequence[int],
        classes: int,
    ):
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(width, options.width) for width in widths)
        self.positions = nn.Parameter(torch.empty(len(widths), options.width))
        self.layer = nn.TransformerEncoderLayer(
            options.width,
            options.heads,
            options.feedforward,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
        )
        self.head = nn.Linear(options.width, classes)
        nn.init.xavier_normal_(self.positions)

    def forward(self, features: Features) -> Tensor:
        tokens = [project(z) for project, z in zip(self.projections, features, strict=True)]
        logits: Tensor = self.head(
            self.layer(torch.stack(tokens, dim=1) + self.positions).mean(dim=1)
        )
        return logits

    def after_initialisation(self) -> None:
        """The three maps to queries, keys and values are linear layers too, though torch keeps them in one."""
        assert self.layer.self_attn.in_proj_weight is not None
        for weight in self.layer.self_attn.in_proj_weight.data.chunk(3):
            nn.init.xavier_normal_(weight)
