"""Linear probes: multinomial logistic regression on frozen features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4)
"""Of the L2 penalty, strongest first."""
STEPS = 200
TOLERANCE = 1e-6
"""Of the gradient; complementarities of the embedded data are then within 2e-4 nats of those of 1e-9."""

Samples = tuple[Tensor, Tensor]
"""Features (n, d) in double precision, and labels (n,)."""


@torch.enable_grad()
def fit_probe(train: Samples, classes: int, strength: float, start: Tensor | None = None) -> Tensor:
    """The weights, (d + 1, C), the last row being the bias, that minimise the mean cross-entropy plus strength / 2
    times the sum of squared weights without the bias. The problem is convex; L-BFGS starts at zero, or from `start`."""
    inputs, labels = _append_constant(train[0]), train[1]
    begin = (
        torch.zeros(inputs.shape[1], classes, device=inputs.device, dtype=inputs.dtype)
        if start is None
        else start
    )
    weights = begin.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=STEPS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (
            F.cross_entropy(inputs @ weights, labels) + strength / 2 * weights[:-1].square().sum()
        )
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def compute_held_out_loss(train: Samples, val: Samples, test: Samples, classes: int) -> float:
    """The mean cross-entropy on test, in nats, of the probe whose strength is best on validation."""
    found: list[tuple[float, Tensor]] = []
    weights = None
    for strength in STRENGTHS:
        weights = fit_probe(train, classes, strength, weights)
        found.append((_compute_loss(weights, val), weights))
    return _compute_loss(min(found, key=lambda pair: pair[0])[1], test)


def _compute_loss(weights: Tensor, samples: Samples) -> float:
    return float(F.cross_entropy(_append_constant(samples[0]) @ weights, samples[1]))


def _append_constant(inputs: Tensor) -> Tensor:
    return F.pad(inputs, (0, 1), value=1.0)
