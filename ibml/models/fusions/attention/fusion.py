"""Attention over one token per modality (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.attention.config import AttentionConfig


class Attention(Fusion):
    """Transformer encoder layer over one token per modality (Vaswani et al. 2017).

    The token of modality m is Linear_m(z_m) + e_m with e_m learned. After one pre-norm layer,
    o = Linear(mean over tokens).

    Args:
        options: Configuration of the fusion.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
    """

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
        """Return the joint logits, (n, C)."""
        tokens = [project(z) for project, z in zip(self.projections, features, strict=True)]
        states = self.layer(torch.stack(tokens, dim=1) + self.positions)
        logits: Tensor = self.head(states.mean(dim=1))
        return logits

    def after_initialisation(self) -> None:
        """Initialize the maps to queries, keys and values, which torch keeps in one matrix."""
        assert self.layer.self_attn.in_proj_weight is not None
        for weight in self.layer.self_attn.in_proj_weight.data.chunk(3):
            nn.init.xavier_normal_(weight)
