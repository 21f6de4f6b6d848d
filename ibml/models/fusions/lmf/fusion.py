"""LMF: low-rank multimodal fusion (Liu et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion
from ibml.models.fusions.lmf.config import LMFConfig


class LowRank(Fusion):
    """Low-rank bilinear head (LMF, Liu et al. 2018).

    o = sum_r w_r * prod_m (W_m^r [z_m; 1]) + b, r = 1 .. rank. The rows of W_m for the constant
    start at one. Each factor then passes on the information of the other modalities, and o_m has a
    gradient from the first step.

    Args:
        options: Configuration of the fusion.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
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
        """Return the joint logits, (n, C)."""
        pairs = zip(self.factors, features, strict=True)
        product = torch.stack([factor(z) for factor, z in pairs]).prod(0)
        terms = product.unflatten(1, (self.rank, -1))
        logits: Tensor = (self.weights @ terms).squeeze(1) + self.bias
        return logits

    def after_initialisation(self) -> None:
        """Set the rows of the constant, which torch keeps as biases, to one."""
        for factor in self.factors:
            assert isinstance(factor, nn.Linear)
            nn.init.ones_(factor.bias)
