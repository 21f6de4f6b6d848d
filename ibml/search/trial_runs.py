"""State of a search trial and of its runs while they are trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import optuna

from ibml.config.trial import TrialConfig
from ibml.search.objective_values import MetricTracker
from ibml.search.space import Values


@dataclass
class TrialRun:
    """A search trial with one of its seeds, to be trained.

    Attributes:
        number: Number of the trial in the Optuna study.
        position: Index of the seed among the seeds of the search.
        config: Configuration to train, with the seed.
        values: Values of the active parameters.
        rungs: Numbers of epochs after which the scheduler decides on pruning.
        tracker: Metrics of the epochs so far.
        pruned: Reason for pruning; empty unless the run was pruned.
        trained: Number of epochs so far.
        interval: Part of the training that this run covers; None if it covers all of it.
    """

    number: int
    position: int
    config: TrialConfig
    values: Values
    rungs: tuple[int, ...]
    tracker: MetricTracker
    pruned: str = ""
    trained: int = 0
    interval: Interval | None = None


@dataclass
class Interval:
    """An interval of population-based training: the epochs between two updates of the population.

    Attributes:
        first: Number of epochs that the checkpoint was trained for.
        stop: Number of epochs after which the interval ends.
        state: Checkpoint to start from; None for the first interval.
        copied: True if the checkpoint is another member's.
        initial: Configuration that the training began with.
        initial_values: Values that the training began with.
        changes: Changes of the values since the training began, see `population.CHANGES`.
        numbers: Current numeric values, by path.
    """

    first: int
    stop: int
    state: bytes | None
    copied: bool
    initial: TrialConfig
    initial_values: Values
    changes: list[dict[str, Any]]
    numbers: dict[str, float]


@dataclass
class SearchTrial:
    """A running trial of the Optuna study.

    Attributes:
        trial: Trial of the Optuna study.
        values: Values of the active parameters.
        config: Configuration with these values, without a seed.
        curve: Reported intermediate values, by step.
        seeds: Metrics of each finished seed.
    """

    trial: optuna.Trial
    values: Values
    config: TrialConfig
    curve: dict[int, float]
    seeds: list[dict[str, float]] = field(default_factory=list)
