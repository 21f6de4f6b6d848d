"""Shapley values of the modalities.

phi_m is the exact Shapley value of v(S), the accuracy with the features outside S replaced by their
mean over the training set. The values sum to v(all) - v(empty set).
"""

from __future__ import annotations

import torch

from ibml.statistics.coalitions import enumerate_subsets, shapley_weights
from ibml.training.measures.base import MeasuredModel


def shapley(measured: MeasuredModel) -> list[float]:
    """Return phi of each modality on test."""
    count = len(measured.model.modalities)
    values = measured.compute_subset_accuracies(enumerate_subsets(count))
    phi: list[float] = (torch.tensor(shapley_weights(count), dtype=torch.float64) @ values).tolist()
    return phi
