"""LFM: learning to fuse, alignment first.

Yang, Wan, Jiang, Xu, "Facilitating Multimodal Classification via Dynamically Learning Modality
Gap", NeurIPS 2024. Each modality has a linear head and o = mean_m o_m:
`ibml.methods.lfm.head.MeanHead`. With p_m = softmax(o_m) let A be the mean over pairs of modalities
and over the batch of

    JS = (KL(k || p_m) + KL(k || p_m')) / 2,  k = (p_m + p_m') / 2.

The loss is L = 2 (w CE(o, y) + (1 - w) A). The order of the arguments of KL is that of the authors'
program. `alignment: infonce` aligns features instead: A is the symmetric InfoNCE of normalized
features at temperature 0.07. The share w of the classification grows over the epochs. `fitted` is a
polynomial of 100 t / epochs at epoch t. `linear` goes from 0.05 in the first epoch to 0.95 in the
last. Both stay within [0.05, 0.95].

Hyperparameters: weight, alignment, window. Cost per step: that of joint training, and M (M - 1) / 2
comparisons of (n, C) or, for infonce, (n, n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.methods.base import Method, Outputs, ensure_full_precision
from ibml.methods.lfm.config import LFMConfig

FITTED = (0.204623704, 3.35472727e-3, 1.22989557e-4, -2.92947416e-6, 2.23835486e-8, -5.39717505e-11)
"""Coefficients of t^0 .. t^5, a fit over 100 epochs."""
ENDS = (0.05, 0.95)
"""Bounds of w."""
TEMPERATURE = 0.07
"""Temperature of InfoNCE."""


def compute_fitted_weight(epoch: int, epochs: int) -> float:
    """Return the w of `fitted` at an epoch of a training of `epochs` epochs."""
    t = epoch * 100 / epochs
    value = sum(c * t**power for power, c in enumerate(FITTED))
    return min(max(value, ENDS[0]), ENDS[1])


def compute_linear_weight(epoch: int, epochs: int) -> float:
    """Return the w of `linear` at an epoch of a training of `epochs` epochs."""
    return ENDS[0] + (ENDS[1] - ENDS[0]) * epoch / max(epochs - 1, 1)


def compute_js_alignment(parts: Tensor) -> Tensor:
    """Compute A of `js`, a scalar, from unimodal logits (M, n, C)."""
    logs = parts.log_softmax(2)
    pairs = list(combinations(logs, 2))
    a = torch.stack([first for first, _ in pairs])
    b = torch.stack([second for _, second in pairs])
    k = torch.logaddexp(a, b) - math.log(2)
    return (k.exp() * (k - (a + b) / 2)).sum(2).mean()


def compute_infonce_alignment(features: Sequence[Tensor]) -> Tensor:
    """Compute A of `infonce`, a scalar, from features (n, d) of each modality."""
    z = [F.normalize(ensure_full_precision(part), dim=1) for part in features]
    samples = torch.arange(len(z[0]), device=z[0].device)
    losses = []
    for a, b in combinations(z, 2):
        logits = a @ b.T / TEMPERATURE
        losses.append((F.cross_entropy(logits, samples) + F.cross_entropy(logits.T, samples)) / 2)
    return torch.stack(losses).mean()


class LFM(Method):
    """Align the modalities first, then shift the weight to the classification loss."""

    options: LFMConfig

    def uses_unimodal(self, epoch: int) -> bool:
        """Return true in the window if the logits are aligned."""
        return self.options.alignment == "js" and self.active(epoch)

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """Return the weighted sum of classification and alignment; the joint loss elsewhere."""
        loss = super().loss(outputs, labels, rho, epoch)
        if not self.active(epoch):
            return loss
        if self.options.weight == "fitted":
            weight = compute_fitted_weight(epoch, self.epochs)
        else:
            weight = compute_linear_weight(epoch, self.epochs)
        if self.options.alignment == "js":
            alignment = compute_js_alignment(outputs.unimodal)
        else:
            alignment = compute_infonce_alignment(outputs.features)
        return 2 * (weight * loss + (1 - weight) * alignment)
