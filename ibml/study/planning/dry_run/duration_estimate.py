"""Estimate of a study's duration, from earlier trials of the same shape."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from ibml.study.planning.keys import compute_trial_shape
from ibml.study.planning.plan import Plan

if TYPE_CHECKING:
    from ibml.tracking.store.listing import ListedTrial

SECONDS = "time.total"
"""Metric with the seconds of a trial."""
Cost = tuple[str, float]
"""Shape of a trial with its number of epochs, and its training time in seconds."""


@dataclass(frozen=True)
class DurationEstimate:
    """Estimated duration of a study.

    Attributes:
        least: Total training time with the minimum number of seeds, in seconds.
        most: Total training time with the maximum number of seeds, in seconds.
        past: Number of earlier trials that the estimate is based on.
        known: Number of arms with earlier trials; the others are assumed to be as fast.
        cells: Number of arms on data sets.
        slots: Number of trials that fit on this machine at once.
        gpu: Number of GPUs of a trial.
    """

    least: float
    most: float
    past: int
    known: int
    cells: int
    slots: int
    gpu: float

    def __str__(self) -> str:
        total = _format_range(self.least, self.most)
        wall = _format_range(self.least / self.slots, self.most / self.slots)
        others = self.cells - self.known
        rest = ""
        if others:
            rest = f" ({others} of {self.cells} arms have none and are assumed to be as fast)"
        gpu = ""
        if self.gpu:
            hours = [seconds * self.gpu / 3600 for seconds in (self.least, self.most)]
            gpu = f"; {_format_number_range(*hours)} GPU-hours"
        return (
            f"Estimate from {self.past} past trials of the same shape{rest}: {total} of training,"
            f" {wall} with {self.slots} at once on this machine{gpu}."
        )


def collect_costs(trials: Iterable[ListedTrial]) -> list[Cost]:
    """Return the costs of trials that have been trained."""
    costs = []
    for trial in trials:
        if trial.shape and SECONDS in trial.metrics:
            costs.append((trial.shape, trial.metrics[SECONDS]))
    return costs


def estimate_duration(plan: Plan, costs: Iterable[Cost]) -> DurationEstimate | None:
    """Estimate the duration of a study.

    Args:
        plan: Plan of the study.
        costs: Costs of earlier trials.

    Returns:
        The estimate, or None if no arm has earlier trials.
    """
    paces: dict[str, list[float]] = {}
    for shape, seconds in costs:
        name, _, epochs = shape.partition("/")
        if epochs.isdecimal() and int(epochs):
            paces.setdefault(name, []).append(seconds / int(epochs))
    shapes = [compute_trial_shape(cell.config).partition("/") for cell in plan.cells]
    known = [name for name, _, _ in shapes if name in paces]
    if not known:
        return None
    used = list(itertools.chain.from_iterable(paces[name] for name in set(known)))
    common = median(used)
    one_seed = sum(int(epochs) * median(paces.get(name, [common])) for name, _, epochs in shapes)
    resources = plan.study.resources
    fitting = int((os.cpu_count() or 1) / resources.cpu)
    return DurationEstimate(
        least=one_seed * plan.study.least_seeds,
        most=one_seed * len(plan.study.all_seeds),
        past=len(used),
        known=len(known),
        cells=len(shapes),
        slots=max(1, min(plan.trials, fitting)),
        gpu=resources.gpus,
    )


def _format_range(low: float, high: float) -> str:
    first, last = _format_duration(low), _format_duration(high)
    return first if first == last else f"{first} to {last}"


def _format_number_range(low: float, high: float) -> str:
    return f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"


def _format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
