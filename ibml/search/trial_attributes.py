"""Attributes that ibml stores with the trials of an Optuna study, and functions that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ibml.config.metrics.specs import Direction
from ibml.search.objective_values import get_sign

SEED = "ibml.seed"
"""Trial attributes `ibml.seed.0`, `ibml.seed.1`, ...: metrics of each seed of the trial."""
REASON = "ibml.reason"
"""Trial attribute: the reason why the trial was pruned or failed."""
EPOCHS = "ibml.epochs"
"""Trial attribute: total number of trained epochs, if it is not the sum over the seeds."""


def select_best_trial(trials: Iterable[FrozenTrial], sense: Direction) -> FrozenTrial | None:
    """Return the best trial by the first objective.

    Args:
        trials: Trials of a study.
        sense: Direction of the first objective.

    Returns:
        The best of the complete, feasible trials that did not diverge; the lowest number among
        equal ones; None if there is no such trial.
    """
    sign = get_sign(sense)
    candidates = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE and read_seed_values(trial) and is_feasible(trial)
    ]
    return max(candidates, key=lambda t: (sign * t.values[0], -t.number), default=None)


def read_seed_values(trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return the metrics of each finished seed of a trial, in the order of the seeds."""
    values: list[dict[str, Any]] = []
    while (known := trial.user_attrs.get(f"{SEED}.{len(values)}")) is not None:
        values.append(known)
    return values


def is_feasible(trial: FrozenTrial) -> bool:
    """Return True if a trial satisfies all constraints."""
    return all(excess <= 0 for excess in trial.constraints.values())


def average_over_seeds(seeds: Sequence[Mapping[str, float]], metric: str) -> float:
    """Return the mean of a metric over seeds."""
    return sum(values[metric] for values in seeds) / len(seeds)
