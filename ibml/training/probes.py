"""Linear probes: multinomial logistic regression on frozen features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4)
"""Strengths of the L2 penalty, strongest first."""
STEPS = 200
"""Maximum number of iterations of L-BFGS."""
TOLERANCE = 1e-6
"""Tolerance of the gradient.

Complementarities of the embedded data are then within 2e-4 nats of those for 1e-9.
"""

Samples = tuple[Tensor, Tensor]
"""Features (n, d) in double precision, and labels (n,)."""


@torch.enable_grad()
def fit_probe(train: Samples, classes: int, strength: float, start: Tensor | None = None) -> Tensor:
    """Fit a linear probe by L-BFGS; the problem is convex.

    The probe minimizes the mean cross-entropy plus strength / 2 times the sum of squared weights
    without the bias.

    Args:
        train: Training samples.
        classes: Number of classes, C.
        strength: Strength of the penalty.
        start: Initial weights, (d + 1, C); zero if None.

    Returns:
        Weights, (d + 1, C), with the bias as last row.
    """
    inputs = _append_constant(train[0])
    labels = train[1]
    if start is None:
        start = torch.zeros(inputs.shape[1], classes, device=inputs.device, dtype=inputs.dtype)
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=STEPS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = strength / 2 * weights[:-1].square().sum()
        loss = F.cross_entropy(inputs @ weights, labels) + penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def compute_held_out_loss(train: Samples, val: Samples, test: Samples, classes: int) -> float:
    """Compute the cross-entropy on test of the probe with the best strength on validation.

    Args:
        train: Training samples.
        val: Validation samples.
        test: Test samples.
        classes: Number of classes, C.

    Returns:
        Mean cross-entropy in nats.
    """
    candidates: list[tuple[float, Tensor]] = []
    weights = None
    for strength in STRENGTHS:
        weights = fit_probe(train, classes, strength, weights)
        candidates.append((_compute_loss(weights, val), weights))
    _, best = min(candidates, key=lambda pair: pair[0])
    return _compute_loss(best, test)


def _compute_loss(weights: Tensor, samples: Samples) -> float:
    return float(F.cross_entropy(_append_constant(samples[0]) @ weights, samples[1]))


def _append_constant(inputs: Tensor) -> Tensor:
    return F.pad(inputs, (0, 1), value=1.0)
