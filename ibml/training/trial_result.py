"""Metrics of an epoch, the selected epoch, and the result of a trial."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

EpochMetrics = dict[str, float]
"""Metrics of one epoch by name; one of them is `epoch`."""


@dataclass
class Selection:
    """Best epoch so far, which is evaluated on test.

    Attributes:
        row: Metrics of the epoch.
        weights: State dictionary of the model after the epoch.
    """

    row: EpochMetrics
    weights: dict[str, Tensor]


@dataclass
class TrialResult:
    """Result of a trial.

    Attributes:
        status: `diverged` if the training or validation loss became infinite or NaN.
        metrics: Final metrics, `test.*` and `selected.*`; empty if the trial diverged.
        history: Metrics of each epoch.
        reason: Explanation of a divergence; empty for a finished trial.
        platform: Kind of machine; see `ibml.training.device.platform`.
    """

    status: Literal["finished", "diverged"]
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[EpochMetrics] = field(default_factory=list)
    reason: str = ""
    platform: str = ""


def describe_divergence(row: EpochMetrics) -> str:
    """Explain the divergence of a trial from the metrics of its last epoch."""
    losses = " and ".join(f"{name} was {row[name]}" for name in find_nonfinite_losses(row))
    return f"{losses} in epoch {row['epoch']:.0f}"


def find_nonfinite_losses(row: EpochMetrics) -> list[str]:
    """Return the names of the losses of an epoch that are infinite or NaN."""
    return [name for name in ("train.loss", "val.loss") if not math.isfinite(row.get(name, 0.0))]
