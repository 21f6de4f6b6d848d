"""OGM-GE: on-the-fly gradient modulation with generalization enhancement.

Peng, Wei, Deng, Wang, Hu, "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022. After the
backward pass of L = CE(o, y), with s_m = sum_i p_m[i, y_i] of this step and ratio_m = s_m / mean of the others' s:

    k_m = 1 - tanh(alpha ratio_m) if ratio_m > 1, else 1

The gradient g of each of encoder m's weights (parameters of two or more dimensions) becomes k_m g, with `ge` plus noise
N(0, (std(g) + 1e-8)^2) of g's shape, std being that before scaling, n - 1 in it. Every modality gets the noise, also
where k_m = 1. A single number has no deviation, and no noise.

Hyperparameters: alpha, ge, window. Cost of a step: that of joint training, and one pass over the encoders' gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.methods.base import Method, Outputs, average_others
from ibml.methods.ogm_ge.config import OGMGEConfig

FLOOR = 1e-8


def compute_ratios(scores: Tensor) -> Tensor:
    """s_m over the mean of the other modalities' s; (M,) -> (M,). A sum of 0 counts as 1e-8."""
    return scores / average_others(scores).clamp_min(FLOOR)


def compute_coefficients(scores: Tensor, alpha: float) -> Tensor:
    """k_m, (M,), from s, (M,)."""
    ratio = compute_ratios(scores)
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), torch.ones_like(ratio))


class OGMGE(Method):
    """The leading modality's encoder learns more slowly."""

    options: OGMGEConfig

    def uses_unimodal(self, epoch: int) -> bool:
        return False

    def backward(self, loss: Tensor, outputs: Outputs, labels: Tensor, epoch: int) -> None:
        super().backward(loss, outputs, labels, epoch)
        if not self.active(epoch):
            return
        scores = outputs.log_probability.detach().exp().sum(1)
        factors = compute_coefficients(scores, self.options.alpha)
        for name, factor in zip(self.model.modalities, factors, strict=True):
            weights = [
                p.grad
                for p in self.model.encoders[name].parameters()
                if p.dim() > 1 and p.grad is not None
            ]
            for gradient in weights:
                self._modulate(gradient, factor)

    def _modulate(self, gradient: Tensor, factor: Tensor) -> None:
        if not self.options.ge or gradient.numel() == 1:
            gradient.mul_(factor)
            return
        deviation = gradient.std() + FLOOR
        noise = torch.randn(
            gradient.shape, generator=self.generator, device=gradient.device, dtype=gradient.dtype
        )
        gradient.mul_(factor).addcmul_(noise, deviation)
