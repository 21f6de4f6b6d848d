"""Accuracy without a modality, whose features are replaced by their mean over the training set."""

from __future__ import annotations

from ibml.training.measures.base import MeasuredModel


def missing(measured: MeasuredModel) -> list[float]:
    """Return the test accuracy without each modality."""
    count = len(measured.model.modalities)
    kept = [[other != m for other in range(count)] for m in range(count)]
    accuracies: list[float] = measured.compute_subset_accuracies(kept).tolist()
    return accuracies
