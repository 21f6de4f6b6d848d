"""Macro-averaged F1 of the joint prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.training.metrics.base import Predictions


def macro_f1(predictions: Predictions) -> Tensor:
    """Return the mean over classes of the F1 of the joint prediction, a scalar."""
    return mean_f1(predictions.predicted, predictions.labels, predictions.classes)


def mean_f1(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Compute the mean over classes of F1 = 2 tp / (predicted + actual).

    Args:
        predicted: Predicted classes, (n,).
        labels: Class indices, (n,).
        classes: Number of classes.

    Returns:
        A scalar in double precision; classes that are neither predicted nor actual are left out.
    """
    true_positives = torch.bincount(labels[predicted == labels], minlength=classes).double()
    predicted_counts = torch.bincount(predicted, minlength=classes)
    total = (predicted_counts + torch.bincount(labels, minlength=classes)).double()
    present = total > 0
    return (2 * true_positives[present] / total[present]).mean()
