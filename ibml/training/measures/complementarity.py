"""Conditional mutual information of labels and a modality's features, given the others.

I(Y; Z_m | Z_rest) in nats is estimated by two linear probes on frozen features, one with all of
them and one without z_m. The estimate is the difference of their cross-entropies on test. It is a
difference of two variational lower bounds, hence no bound itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.training.measures.base import FLOOR, MeasuredModel
from ibml.training.probes import Samples, compute_held_out_loss


def complementarity(measured: MeasuredModel) -> list[float]:
    """Return the loss of the probe without each modality minus the loss of the probe with all."""
    deviations = [compute_deviations(z) for z in measured.train_features[0]]

    def standardize(split: tuple[list[Tensor], Tensor], chosen: list[int]) -> Samples:
        features, labels = split
        columns = []
        for m in chosen:
            columns.append((features[m].double() - measured.feature_means[m]) / deviations[m])
        return torch.cat(columns, 1), labels

    val_features = measured.compute_features(measured.val)

    def compute_loss(left_out: int | None) -> float:
        chosen = [m for m in range(len(deviations)) if m != left_out]
        train = standardize(measured.train_features, chosen)
        val = standardize(val_features, chosen)
        test = standardize(measured.test_features, chosen)
        return compute_held_out_loss(train, val, test, measured.model.classes)

    whole = compute_loss(None)
    return [compute_loss(m) - whole for m in range(len(deviations))]


def compute_deviations(values: Tensor) -> Tensor:
    """Compute the standard deviation of each column, to standardize with.

    A constant column may vary in other data. Division by a deviation near 0 would make it enormous.

    Args:
        values: Values, (n, d).

    Returns:
        Standard deviations, (d,), in double precision; 1 for constant columns.
    """
    values = values.double()
    found = values.std(0)
    return torch.where(found > FLOOR * values.abs().amax(0), found, torch.ones_like(found))
