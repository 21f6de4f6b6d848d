"""What a study's trials say of themselves, in Optuna's fields and in attributes of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ibml.config.metrics.specs import Direction

SEED = "ibml.seed"
"""Trial attributes `ibml.seed.0`, ...: what the proposal's seeds came to."""
REASON = "ibml.reason"
"""Trial attribute: why it was stopped or failed."""
EPOCHS = "ibml.epochs"
"""Trial attribute: the epochs that were trained for it in all, where that is not the sum of its seeds'."""


def select_best_trial(trials: Iterable[FrozenTrial], sense: Direction) -> FrozenTrial | None:
    """The best by the first objective among complete trials that kept the constraints and did not diverge; of equal
    ones the first."""
    sign = 1.0 if sense == "maximize" else -1.0
    complete = [
        t
        for t in trials
        if t.state == TrialState.COMPLETE and read_seed_values(t) and is_feasible(t)
    ]
    return max(complete, key=lambda t: (sign * t.values[0], -t.number), default=None)


def read_seed_values(trial: FrozenTrial) -> list[dict[str, Any]]:
    """What the seeds of a trial came to, in order."""
    values: list[dict[str, Any]] = []
    while (known := trial.user_attrs.get(f"{SEED}.{len(values)}")) is not None:
        values.append(known)
    return values


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial keeps all constraints."""
    return all(excess <= 0 for excess in trial.constraints.values())


def average_over_seeds(seeds: Sequence[Mapping[str, float]], metric: str) -> float:
    return sum(values[metric] for values in seeds) / len(seeds)
