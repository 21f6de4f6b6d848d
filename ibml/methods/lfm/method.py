"""LFM: learning to fuse, alignment first.

Yang, Wan, Jiang, Xu, "Facilitating Multimodal Classification via Dynamically Learning Modality Gap", NeurIPS 2024.
Each modality has a linear head and o = mean_m o_m: `ibml.methods.lfm.head.MeanHead`. With p_m = softmax(o_m) and A the
mean over pairs of modalities of

    JS = (KL(k || p_m) + KL(k || p_m')) / 2,  k = (p_m + p_m') / 2,

batch means (the order of KL's arguments is the authors' program's), L = 2 (w CE(o, y) + (1 - w) A). `alignment:
infonce` aligns features instead: the symmetric InfoNCE of normalised features at temperature 0.07. The
classification's share w grows over the epochs: `fitted` is a polynomial of t 100 / epochs, t being the epoch,
`linear` goes from 0.05 in the first epoch to 0.95 in the last; both stay within [0.05, 0.95].

Hyperparameters: weight, alignment, window. Cost of a step: that of joint training, and M (M - 1) / 2 comparisons of
(n, C) or, for infonce, (n, n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.methods.base import Method, Outputs, full
from ibml.methods.lfm.config import LFMConfig

FITTED = (0.204623704, 3.35472727e-3, 1.22989557e-4, -2.92947416e-6, 2.23835486e-8, -5.39717505e-11)
"""Coefficients of t^0 .. t^5, a fit over 100 epochs."""
ENDS = (0.05, 0.95)
TEMPERATURE = 0.07


def compute_fitted_weight(epoch: int, epochs: int) -> float:
    """w of `fitted` at an epoch of so many."""
    t = epoch * 100 / epochs
    return min(max(sum(c * t**power for power, c in enumerate(FITTED)), ENDS[0]), ENDS[1])


def compute_linear_weight(epoch: int, epochs: int) -> float:
    """w of `linear` at an epoch of so many."""
    return ENDS[0] + (ENDS[1] - ENDS[0]) * epoch / max(epochs - 1, 1)


def compute_js_alignment(parts: Tensor) -> Tensor:
    """A from unimodal logits (M, n, C)."""
    logs = parts.log_softmax(2)
    pairs = list(combinations(logs, 2))
    a, b = (torch.stack([pair[side] for pair in pairs]) for side in (0, 1))
    k = torch.logaddexp(a, b) - math.log(2)
    return (k.exp() * (k - (a + b) / 2)).sum(2).mean()


def compute_infonce_alignment(features: Sequence[Tensor]) -> Tensor:
    """A from features (n, d) of each modality."""
    z = [F.normalize(full(part), dim=1) for part in features]
    samples = torch.arange(len(z[0]), device=z[0].device)
    losses = []
    for a, b in combinations(z, 2):
        alike = a @ b.T / TEMPERATURE
        losses.append((F.cross_entropy(alike, samples) + F.cross_entropy(alike.T, samples)) / 2)
    return torch.stack(losses).mean()


class LFM(Method):
    """The modalities agree first, and are told apart by class more and more."""

    options: LFMConfig

    def uses_unimodal(self, epoch: int) -> bool:
        return self.options.alignment == "js" and self.active(epoch)

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        loss = super().loss(outputs, labels, rho, epoch)
        if not self.active(epoch):
            return loss
        weight = (
            compute_fitted_weight if self.options.weight == "fitted" else compute_linear_weight
        )(epoch, self.epochs)
        by_logits = self.options.alignment == "js"
        alignment = (
            compute_js_alignment(outputs.unimodal)
            if by_logits
            else compute_infonce_alignment(outputs.features)
        )
        return 2 * (weight * loss + (1 - weight) * alignment)
