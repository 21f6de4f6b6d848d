"""Conditional mutual information of labels and a modality's feature, given the others.

I(Y; Z_m | Z_rest) in nats, as the cross-entropy on test that a linear probe on all frozen features gains over one
without z_m: a difference of two variational lower bounds, hence an estimate and no bound.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.training.measures.base import FLOOR, MeasuredModel
from ibml.training.probes import compute_held_out_loss


def complementarity(measured: MeasuredModel) -> list[float]:
    """Return the loss without each modality minus the loss with all."""
    splits = [
        measured.train_features,
        measured.compute_features(measured.val),
        measured.test_features,
    ]
    deviations = [compute_deviations(z) for z in measured.train_features[0]]

    def loss(left_out: int | None) -> float:
        chosen = [m for m in range(len(deviations)) if m != left_out]
        parts = [
            (
                torch.cat(
                    [(z[m].double() - measured.feature_means[m]) / deviations[m] for m in chosen], 1
                ),
                labels,
            )
            for z, labels in splits
        ]
        return compute_held_out_loss(parts[0], parts[1], parts[2], measured.model.classes)

    whole = loss(None)
    return [loss(m) - whole for m in range(len(deviations))]


def compute_deviations(values: Tensor) -> Tensor:
    """That of each column, in double precision, and 1 for columns that never change: on other data these may, and would
    be enormous by a deviation of nothing."""
    found = values.double().std(0)
    return torch.where(found > FLOOR * values.double().abs().amax(0), found, torch.ones_like(found))
