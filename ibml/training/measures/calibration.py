"""Expected calibration error of the joint prediction, 15 bins of equal width (Guo et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.training.measures.base import MeasuredModel

BINS = 15


def calibration(measured: MeasuredModel) -> list[float]:
    """Return the error on test."""
    return [compute_calibration_error(measured.compute_joint_logits(), measured.test_features[1])]


def compute_calibration_error(logits: Tensor, labels: Tensor) -> float:
    """sum over bins of the share of samples times |accuracy - mean confidence|; logits (n, C), labels (n,)."""
    confidence, predicted = logits.double().softmax(1).max(1)
    right = (predicted == labels).double()
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    sums = torch.zeros(BINS, device=logits.device, dtype=torch.float64).index_add(
        0, place, right - confidence
    )
    return float(sums.abs().sum() / len(labels))
