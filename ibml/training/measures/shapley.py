"""Shapley values of the modalities.

phi_m, exact over all subsets S, of v(S) = accuracy with the features outside S replaced by their mean over the training
set. They sum to v(all) - v(none).
"""

from __future__ import annotations

import torch

from ibml.statistics.coalitions import members, shapley_weights
from ibml.training.measures.base import MeasuredModel


def shapley(measured: MeasuredModel) -> list[float]:
    """Return phi of each modality."""
    count = len(measured.model.modalities)
    values = measured.compute_subset_accuracies(members(count))
    phi: list[float] = (torch.tensor(shapley_weights(count), dtype=torch.float64) @ values).tolist()
    return phi
