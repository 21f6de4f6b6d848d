"""OGM-GE: on-the-fly gradient modulation with generalization enhancement.

Peng, Wei, Deng, Wang, Hu, "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR
2022. After the backward pass of L = CE(o, y), with s_m = sum_i p_m[i, y_i] of this step and
ratio_m = s_m / mean of the others' s:

    k_m = 1 - tanh(alpha ratio_m) if ratio_m > 1, else 1

Let g be the gradient of one of encoder m's weights (parameters of two or more dimensions). It
becomes k_m g, with `ge` plus noise N(0, (std(g) + 1e-8)^2) of the shape of g. std is that before
scaling, with divisor n - 1. Every modality gets the noise, also if k_m = 1. A single number has no
standard deviation and gets no noise.

Hyperparameters: alpha, ge, window. Cost per step: that of joint training, and one pass over the
gradients of the encoders.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.methods.base import Method, Outputs, average_others
from ibml.methods.ogm_ge.config import OGMGEConfig

FLOOR = 1e-8
"""Lower bound of the mean of the others' s, and addend of standard deviations."""


def compute_ratios(scores: Tensor) -> Tensor:
    """Return s_m divided by the mean of the other modalities' s, which is at least 1e-8, (M,)."""
    return scores / average_others(scores).clamp_min(FLOOR)


def compute_coefficients(scores: Tensor, alpha: float) -> Tensor:
    """Return the modulation coefficients k_m, (M,), from the scores s, (M,)."""
    ratio = compute_ratios(scores)
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), torch.ones_like(ratio))


class OGMGE(Method):
    """Scale down the gradients of the leading modality's encoder."""

    options: OGMGEConfig

    def uses_unimodal(self, epoch: int) -> bool:
        """Return false: the loss has no gradient with respect to the unimodal logits."""
        return False

    def backward(self, loss: Tensor, outputs: Outputs, labels: Tensor, epoch: int) -> None:
        """Compute the gradients; modulate those of the encoders in the window."""
        super().backward(loss, outputs, labels, epoch)
        if not self.active(epoch):
            return
        scores = outputs.log_probability.detach().exp().sum(1)
        factors = compute_coefficients(scores, self.options.alpha)
        for name, factor in zip(self.model.modalities, factors, strict=True):
            for parameter in self.model.encoders[name].parameters():
                if parameter.dim() > 1 and parameter.grad is not None:
                    self._modulate(parameter.grad, factor)

    def _modulate(self, gradient: Tensor, factor: Tensor) -> None:
        if not self.options.ge or gradient.numel() == 1:
            gradient.mul_(factor)
            return
        deviation = gradient.std() + FLOOR
        noise = torch.randn(
            gradient.shape, generator=self.generator, device=gradient.device, dtype=gradient.dtype
        )
        gradient.mul_(factor).addcmul_(noise, deviation)
