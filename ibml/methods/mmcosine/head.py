"""Head of MMCosine, whose logits are cosines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.methods.mmcosine.config import CosineHeadConfig
from ibml.models.fusion import Features
from ibml.models.heads import LateFusionHead

FLOOR = 1e-12
"""Lower bound of norms."""


class CosineHead(LateFusionHead):
    """Head whose logits are cosines (MMCosine, Xu et al., ICASSP 2023).

    o_m = scale * cos(z_m, W_m[c]) for each class c, and o = sum_m o_m.

    Args:
        options: Configuration of the head.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.

    Attributes:
        normalised: Buffer. If false, logits are plain inner products, o_m = W_m z_m.
    """

    normalised: Tensor

    def __init__(
        self,
        options: CosineHeadConfig,
        modalities: Sequence[str],
        widths: Sequence[int],
        classes: int,
    ):
        super().__init__()
        self.widths = tuple(widths)
        self.scale = options.scale
        self.head = nn.Linear(sum(widths), classes, bias=False)
        self.register_buffer("normalised", torch.tensor(True))

    def unimodal_logits(self, features: Features) -> Tensor:
        """Return o_1 .. o_M, (M, n, C)."""
        columns = self.head.weight.split(self.widths, 1)
        logits = [self._compute_logits(z, w) for z, w in zip(features, columns, strict=True)]
        return torch.stack(logits)

    def _compute_logits(self, z: Tensor, weight: Tensor) -> Tensor:
        z = z.to(weight.dtype)  # the floor underflows in half precision
        cosines = F.linear(F.normalize(z, dim=1, eps=FLOOR), F.normalize(weight, dim=1, eps=FLOOR))
        return torch.where(self.normalised, self.scale * cosines, F.linear(z, weight))

    def combine(self, parts: Tensor) -> Tensor:
        """Return the sum of the unimodal logits, (n, C)."""
        return parts.sum(0)
