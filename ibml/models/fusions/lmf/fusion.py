"""LMF: low-rank multimodal fusion (Liu et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.lmf.config import LMFConfig


class LowRank(Fusion):
    """o = sum_r w_r * prod_m (W_m^r [z_m; 1]) + b, r = 1 .. rank (LMF, Liu et al. 2018).

    The constant's rows of W_m start at one: each factor then passes the other modalities' information on, and
    o_m has a gradient from the first step.
    """

    def __init__(
        self, options: LMFConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.factors = nn.ModuleList(nn.Linear(width, options.rank * classes) for width in widths)
        self.weights = nn.Parameter(torch.empty(1, options.rank))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.rank = options.rank
        nn.init.xavier_normal_(self.weights)

    def forward(self, features: Features) -> Tensor:
        product = torch.stack(
            [factor(z) for factor, z in zip(self.factors, features, strict=True)]
        ).prod(0)
        logits: Tensor = (self.weights @ product.unflatten(1, (self.rank, -1))).squeeze(
            1
        ) + self.bias
        return logits

    def after_initialisation(self) -> None:
        for factor in self.factors:
            assert isinstance(factor, nn.Linear)
            nn.init.ones_(factor.bias)
