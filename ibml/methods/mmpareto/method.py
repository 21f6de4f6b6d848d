"""MMPareto: Pareto integration of joint and unimodal gradients.

Wei, Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024. With
L_0 = CE(o, y) and L_m = CE(head_m(z_m), y), let g_0 and g_m be their gradients with respect to the
parameters of encoder m. If cos(g_0, g_m) > 0, c = 1/2. Otherwise c minimizes |c g_0 + (1 - c) g_m|:
with a = g_0.g_0, b = g_0.g_m, d = g_m.g_m

    c = 0.999 if b >= a; 0.001 if b >= d; (d - b) / (a + d - 2 b) otherwise.

For each parameter tensor u = 2 c g_0 + 2 (1 - c) g_m, rescaled to the length of g_0 + g_m if that
is longer. The gradient of the encoder is gamma u. Fusion and heads get the gradient of L_0 + sum_m
L_m.

Hyperparameters: gamma, heads, window. Cost per step: that of joint training, and a second backward
pass through each encoder, from the gradients of its features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.methods.base import Outputs
from ibml.methods.mmpareto.config import MMParetoConfig
from ibml.methods.unimodal_losses import UnimodalLossMethod

ENDS = (0.001, 0.999)
"""Values of c if one gradient alone is the shortest combination."""

Gradients = Sequence[Tensor]
"""One tensor per parameter."""


def compute_joint_share(joint: Gradients, own: Gradients) -> Tensor:
    """Compute the weight c of the joint gradient.

    Args:
        joint: g_0, the gradient of the joint loss.
        own: g_m, the gradient of the modality's loss.

    Returns:
        c, a scalar. g_0 and g_m count as one flat vector each.
    """
    a = _compute_inner_product(joint, joint)
    b = _compute_inner_product(joint, own)
    d = _compute_inner_product(own, own)
    low = torch.full_like(a, ENDS[0])
    high = torch.full_like(a, ENDS[1])
    between = (d - b) / (a + d - 2 * b)
    shortest = torch.where(b >= a, high, torch.where(b >= d, low, between))
    return torch.where(b > 0, torch.full_like(a, 0.5), shortest)


def integrate_gradients(joint: Gradients, own: Gradients, gamma: float) -> list[Tensor]:
    """Compute the integrated gradient, gamma u.

    Args:
        joint: g_0, the gradient of the joint loss.
        own: g_m, the gradient of the modality's loss.
        gamma: Factor of the result.

    Returns:
        One tensor per parameter.
    """
    c = compute_joint_share(joint, own)
    integrated = []
    for x, y in zip(joint, own, strict=True):
        u = 2 * c * x + 2 * (1 - c) * y
        integrated.append(gamma * _match_length(u, x + y))
    return integrated


def _match_length(u: Tensor, plain: Tensor) -> Tensor:
    """Return u, rescaled to the length of the plain sum if that is longer; 0 stays 0."""
    length = u.norm()
    target = plain.norm()
    grows = (target > length) & (length > 0)
    divisor = torch.where(grows, length, 1.0)
    return u * torch.where(grows, target / divisor, 1.0)


def _compute_inner_product(x: Gradients, y: Gradients) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(x, y, strict=True)]).sum()


class MMPareto(UnimodalLossMethod):
    """Combine the gradients of each encoder so that no loss is traded for the other."""

    options: MMParetoConfig

    def backward(self, loss: Tensor, outputs: Outputs, labels: Tensor, epoch: int) -> None:
        """Set the gradients: integrated ones of the encoders, plain ones of fusion and heads."""
        if not self.active(epoch):
            super().backward(loss, outputs, labels, epoch)
            return
        scale = self.precision.scaler.scale
        own = self.compute_unimodal_losses(outputs, labels)
        self._set_head_gradients(scale(loss + own.sum()))
        encoders: list[tuple[Tensor, list[nn.Parameter]]] = []
        for name, features in zip(self.model.modalities, outputs.features, strict=True):
            if features.requires_grad:
                encoders.append((features, _get_trainable_parameters(self.model.encoders[name])))
        if not encoders:
            return
        z = [features for features, _ in encoders]
        by_joint = torch.autograd.grad(scale(loss), z, retain_graph=True)
        by_own = torch.autograd.grad(scale(own.sum()), z)
        for (features, parameters), joint, single in zip(encoders, by_joint, by_own, strict=True):
            self._set_encoder_gradients(features, parameters, joint, single)

    def _set_head_gradients(self, loss: Tensor) -> None:
        parameters = _get_trainable_parameters(self.model.fusion)
        parameters += _get_trainable_parameters(self.heads)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient

    def _set_encoder_gradients(
        self,
        features: Tensor,
        parameters: Sequence[nn.Parameter],
        by_joint: Tensor,
        by_own: Tensor,
    ) -> None:
        """Set the gradients of an encoder from those of its features, (n, d_m) each."""
        joint = torch.autograd.grad(
            features, parameters, by_joint, retain_graph=True, allow_unused=True
        )
        own = torch.autograd.grad(features, parameters, by_own, allow_unused=True)
        used = [p for p, gradient in zip(parameters, joint, strict=True) if gradient is not None]
        integrated = integrate_gradients(
            [gradient for gradient in joint if gradient is not None],
            [gradient for gradient in own if gradient is not None],
            self.options.gamma,
        )
        for parameter, gradient in zip(used, integrated, strict=True):
            parameter.grad = gradient


def _get_trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]
