"""Macro-averaged F1 of the joint prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.training.metrics.base import Predictions


def macro_f1(predictions: Predictions) -> Tensor:
    """Return the mean F1 over classes."""
    return mean_f1(predictions.predicted, predictions.labels, predictions.classes)


def mean_f1(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean over classes of F1 = 2 tp / (predicted + actual); classes in neither are left out."""
    true = torch.bincount(labels[predicted == labels], minlength=classes).double()
    total = (
        torch.bincount(predicted, minlength=classes) + torch.bincount(labels, minlength=classes)
    ).double()
    return (2 * true[total > 0] / total[total > 0]).mean()
