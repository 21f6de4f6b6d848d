"""Accuracy without a modality: its feature is replaced by the mean over the training set."""

from __future__ import annotations

from ibml.training.measures.base import MeasuredModel


def missing(measured: MeasuredModel) -> list[float]:
    """Return the accuracy without each modality."""
    count = len(measured.model.modalities)
    kept = [[other != m for other in range(count)] for m in range(count)]
    accuracies: list[float] = measured.compute_subset_accuracies(kept).tolist()
    return accuracies
