"""How long a study will take, from trials of the same shape that were run before."""

from __future__ import annotations

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
"""The metric that has the seconds of a trial."""
Cost = tuple[str, float]
"""A trial's shape with its epochs, and its seconds of training."""


@dataclass(frozen=True)
class DurationEstimate:
    """Seconds of training one after another, at least and at most seeds; `arms` of `cells` arms had past trials, the
    others are taken at their pace; `slots` trials fit on this machine at once."""

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
        rest = f", {others} of {self.cells} arms at the others' pace" if others else ""
        gpu = (
            f"; {_format_number_range(self.least * self.gpu / 3600, self.most * self.gpu / 3600)} GPU-hours"
            if self.gpu
            else ""
        )
        return (
            f"Estimate from {self.past} past trials of the same shape{rest}: {total} of training, {wall} with"
            f" {self.slots} at once on this machine{gpu}."
        )


def collect_costs(trials: Iterable[ListedTrial]) -> list[Cost]:
    """Return the costs of trials that have been trained."""
    return [
        (trial.shape, trial.metrics[SECONDS])
        for trial in trials
        if trial.shape and SECONDS in trial.metrics
    ]


def estimate_duration(plan: Plan, costs: Iterable[Cost]) -> DurationEstimate | None:
    """None where no arm has past trials."""
    paces: dict[str, list[float]] = {}
    for shape, seconds in costs:
        name, _, epochs = shape.partition("/")
        if epochs.isdecimal() and int(epochs):
            paces.setdefault(name, []).append(seconds / int(epochs))
    shapes = [compute_trial_shape(cell.config).partition("/") for cell in plan.cells]
    known = [name for name, _, _ in shapes if name in paces]
    if not known:
        return None
    common = median(pace for name in set(known) for pace in paces[name])
    one_seed = sum(int(epochs) * median(paces.get(name, [common])) for name, _, epochs in shapes)
    resources = plan.study.resources
    slots = max(1, min(plan.trials, int((os.cpu_count() or 1) / resources.cpu)))
    return DurationEstimate(
        one_seed * plan.study.least_seeds,
        one_seed * len(plan.study.all_seeds),
        sum(len(paces[name]) for name in set(known)),
        len(known),
        len(shapes),
        slots,
        resources.gpus,
    )


def _format_range(low: float, high: float) -> str:
    first, last = _format_duration(low), _format_duration(high)
    return first if first == last else f"{first} to {last}"


def _format_number_range(low: float, high: float) -> str:
    return f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"


def _format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
