"""Head of ReconBoost, shared by all modalities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.methods.recon_boost.config import BoostedHeadConfig
from ibml.models.fusion import Features
from ibml.models.heads import LateFusionHead


class BoostedHead(LateFusionHead):
    """Perceptron shared by all modalities (ReconBoost, Hua et al., ICML 2024).

    o_m = f(z_m) with f = Linear(d, hidden) ReLU Linear(hidden, C), and o = b sum_m o_m, where b is
    a learned number that starts at 1.

    Args:
        options: Configuration of the head.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
    """

    def __init__(
        self,
        options: BoostedHeadConfig,
        modalities: Sequence[str],
        widths: Sequence[int],
        classes: int,
    ):
        super().__init__()
        self.head = nn.Sequential(
            nn.Linear(widths[0], options.hidden), nn.ReLU(), nn.Linear(options.hidden, classes)
        )
        self.scale = nn.Parameter(torch.ones(()))

    def unimodal_logits(self, features: Features) -> Tensor:
        """Return o_1 .. o_M, (M, n, C)."""
        logits: Tensor = self.head(torch.stack(list(features)))
        return logits

    def combine(self, parts: Tensor) -> Tensor:
        """Return the scaled sum of the unimodal logits, (n, C)."""
        return self.scale * parts.sum(0)
