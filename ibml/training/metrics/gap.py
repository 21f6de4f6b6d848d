"""Gap between the accuracies of the modalities."""

from __future__ import annotations

from torch import Tensor

from ibml.training.metrics.base import Predictions


def gap(predictions: Predictions) -> Tensor:
    """Return the largest minus the smallest unimodal accuracy, a scalar."""
    accuracies = predictions.unimodal_accuracies
    return accuracies.max() - accuracies.min()
