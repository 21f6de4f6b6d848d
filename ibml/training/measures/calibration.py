"""Expected calibration error of the joint prediction, 15 bins of equal width (Guo et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.training.measures.base import MeasuredModel

BINS = 15
"""Number of bins of the confidence."""


def calibration(measured: MeasuredModel) -> list[float]:
    """Return the expected calibration error on test."""
    return [compute_calibration_error(measured.compute_joint_logits(), measured.test_features[1])]


def compute_calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Compute the expected calibration error.

    Args:
        logits: Logits, (n, C).
        labels: Class indices, (n,).

    Returns:
        Sum over bins of the share of samples times |accuracy - mean confidence|, from 0 to 1.
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    correct = (predicted == labels).double()
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    zeros = torch.zeros(BINS, device=logits.device, dtype=torch.float64)
    sums = zeros.index_add(0, bins, correct - confidence)
    return float(sums.abs().sum() / len(labels))
