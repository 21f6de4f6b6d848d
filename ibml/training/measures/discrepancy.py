"""Discrepancy of the modalities' scores in training (Peng et al. 2022)."""

from __future__ import annotations

from torch import Tensor

from ibml.training.measures.base import FLOOR


def discrepancy(scores: Tensor) -> Tensor:
    """Return the mean over steps of max_m s_m / min_m s_m, a scalar, from s, (steps, M)."""
    scores = scores.double().clamp_min(FLOOR)
    return (scores.amax(1) / scores.amin(1)).mean()
