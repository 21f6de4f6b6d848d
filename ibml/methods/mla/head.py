"""Head of MLA, shared by all modalities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.methods.mla.config import SharedHeadConfig
from ibml.models.fusion import Features
from ibml.models.heads import LateFusionHead


class SharedHead(LateFusionHead):
    """Linear head shared by all modalities (MLA, Zhang et al., CVPR 2024).

    o_m = h(z_m) and, per sample, o = sum_m w_m o_m with w_m = exp(max e - e_m) / sum, where e_m is
    the entropy of softmax(o_m). A more certain modality has a larger weight.

    Args:
        options: Configuration of the head.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
    """

    def __init__(
        self,
        options: SharedHeadConfig,
        modalities: Sequence[str],
        widths: Sequence[int],
        classes: int,
    ):
        super().__init__()
        self.head = nn.Linear(widths[0], classes)

    def unimodal_logits(self, features: Features) -> Tensor:
        """Return o_1 .. o_M, (M, n, C)."""
        logits: Tensor = self.head(torch.stack(list(features)))
        return logits

    def combine(self, parts: Tensor) -> Tensor:
        """Return the sum of the unimodal logits, weighted by certainty, (n, C)."""
        return (compute_certainty(parts)[..., None] * parts).sum(0)


def compute_certainty(parts: Tensor) -> Tensor:
    """Compute the certainty of each modality for each sample.

    Args:
        parts: Unimodal logits, (M, n, C).

    Returns:
        Softmax over modalities of the negative entropy of softmax(o_m), (M, n).
    """
    logs = parts.log_softmax(2)
    return (logs.exp() * logs).sum(2).softmax(0)
