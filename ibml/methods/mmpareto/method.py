"""MMPareto: Pareto integration of joint and unimodal gradients.

Wei, Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024. With L_0 = CE(o, y)
and L_m = CE(head_m(z_m), y), let g_0 and g_m be their gradients by encoder m's parameters. If cos(g_0, g_m) > 0, c =
1/2; else c minimises |c g_0 + (1 - c) g_m|: with a = g_0.g_0, b = g_0.g_m, d = g_m.g_m

    c = 0.999 if b >= a; 0.001 if b >= d; (d - b) / (a + d - 2 b) otherwise.

Then for each parameter tensor u = 2 c g_0 + 2 (1 - c) g_m, where |g_0 + g_m| > |u| made as long as that, and the
gradient is gamma u. Fusion and heads get the gradient of L_0 + sum_m L_m.

Hyperparameters: gamma, heads, window. Cost of a step: that of joint training, and a second backward pass through each
encoder, from the gradients of its features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.methods.base import Outputs
from ibml.methods.mmpareto.config import MMParetoConfig
from ibml.methods.unimodal_losses import UnimodalLossMethod

ENDS = (0.001, 0.999)

Gradients = Sequence[Tensor]
"""One tensor per parameter."""


def compute_joint_share(joint: Gradients, own: Gradients) -> Tensor:
    """c, a scalar: the weight of the joint gradient beside a modality's own, by their angle as one flat vector each."""
    a, b, d = (_compute_inner_product(x, y) for x, y in [(joint, joint), (joint, own), (own, own)])
    low, high = torch.full_like(a, ENDS[0]), torch.full_like(a, ENDS[1])
    between = (d - b) / (a + d - 2 * b)
    shortest = torch.where(b >= a, high, torch.where(b >= d, low, between))
    return torch.where(b > 0, torch.full_like(a, 0.5), shortest)


def integrate_gradients(joint: Gradients, own: Gradients, gamma: float) -> list[Tensor]:
    """gamma u for each parameter tensor."""
    c = compute_joint_share(joint, own)
    return [
        gamma * _match_length(2 * c * x + 2 * (1 - c) * y, x + y)
        for x, y in zip(joint, own, strict=True)
    ]


def _match_length(u: Tensor, plain: Tensor) -> Tensor:
    """u, where the plain sum is longer made as long as that; 0 stays 0."""
    length, wanted = u.norm(), plain.norm()
    grows = (wanted > length) & (length > 0)
    return u * torch.where(grows, wanted / torch.where(grows, length, 1.0), 1.0)


def _compute_inner_product(x: Gradients, y: Gradients) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(x, y, strict=True)]).sum()


class MMPareto(UnimodalLossMethod):
    """Every encoder learns from its own loss without hurting the joint one."""

    options: MMParetoConfig

    def backward(self, loss: Tensor, outputs: Outputs, labels: Tensor, epoch: int) -> None:
        if not self.active(epoch):
            super().backward(loss, outputs, labels, epoch)
            return
        scale = self.precision.scaler.scale
        own = self.compute_unimodal_losses(outputs, labels)
        rest = [
            p
            for part in (self.model.fusion, self.heads)
            for p in part.parameters()
            if p.requires_grad
        ]
        self._set_gradients(
            rest,
            torch.autograd.grad(
                scale(loss + own.sum()), rest, retain_graph=True, allow_unused=True
            ),
        )
        named = zip(self.model.modalities, outputs.features, strict=True)
        encoders = [
            (z, self._get_trainable_parameters(name)) for name, z in named if z.requires_grad
        ]
        if not encoders:
            return
        z = [features for features, _ in encoders]
        by_joint = torch.autograd.grad(scale(loss), z, retain_graph=True)
        by_own = torch.autograd.grad(scale(own.sum()), z)
        for (features, parameters), joint, single in zip(encoders, by_joint, by_own, strict=True):
            pairs = [
                torch.autograd.grad(
                    features, parameters, gradient, retain_graph=keep, allow_unused=True
                )
                for gradient, keep in ((joint, True), (single, False))
            ]
            used = [
                p for p, gradient in zip(parameters, pairs[0], strict=True) if gradient is not None
            ]
            both = [
                [gradient for gradient in gradients if gradient is not None] for gradients in pairs
            ]
            self._set_gradients(used, integrate_gradients(both[0], both[1], self.options.gamma))

    def _get_trainable_parameters(self, modality: str) -> list[nn.Parameter]:
        return [p for p in self.model.encoders[modality].parameters() if p.requires_grad]

    @staticmethod
    def _set_gradients(
        parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]
    ) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
