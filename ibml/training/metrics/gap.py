"""Gap between the modalities' accuracies."""

from __future__ import annotations

from torch import Tensor

from ibml.training.metrics.base import Predictions


def gap(predictions: Predictions) -> Tensor:
    """Return the largest minus the smallest accuracy of a modality."""
    each = predictions.unimodal_accuracies
    return each.max() - each.min()
