"""Computation of all metrics of one split from its logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ibml.common.imports import load_object
from ibml.config.metrics.registry import EVALUATION_METRICS
from ibml.training.metrics.base import Predictions

_FUNCTIONS = [(metric, load_object(metric.function)) for metric in EVALUATION_METRICS]


def compute_metrics(
    joint: Tensor, unimodal: Tensor, labels: Tensor, modalities: Sequence[str]
) -> dict[str, float]:
    """Compute every metric of `EVALUATION_METRICS` with one read of the device.

    Args:
        joint: Joint logits, (n, C).
        unimodal: Unimodal logits, (M, n, C).
        labels: Class indices, (n,).
        modalities: Names of the M modalities.

    Returns:
        Values by name without the split, in the order of the registry.
    """
    predictions = Predictions(joint, unimodal, labels)
    names: list[str] = []
    values: list[Tensor] = []
    for metric, compute in _FUNCTIONS:
        metric_names = metric.expand_names(modalities)
        if metric_names:
            names += metric_names
            values.append(compute(predictions).double().reshape(len(metric_names)))
    return dict(zip(names, torch.cat(values).tolist(), strict=True))
