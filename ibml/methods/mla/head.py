"""The head of MLA, shared by all modalities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.methods.mla.config import SharedHeadConfig
from ibml.models.fusion import Features
from ibml.models.heads import LateFusionHead


class SharedHead(LateFusionHead):
    """o_m = h(z_m), h linear and shared; o = sum_m w_m o_m per sample, w_m = exp(max e - e_m) / sum, e_m the entropy of
    softmax(o_m): the surer modality weighs more (MLA, Zhang et al., CVPR 2024)."""

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
        logits: Tensor = self.head(torch.stack(list(features)))
        return logits

    def combine(self, parts: Tensor) -> Tensor:
        return (compute_certainty(parts)[..., None] * parts).sum(0)


def compute_certainty(parts: Tensor) -> Tensor:
    """The softmax over modalities of the negative entropy of softmax(o_m), per sample: (M, n, C) -> (M, n)."""
    logs = parts.log_softmax(2)
    return (logs.exp() * logs).sum(2).softmax(0)
