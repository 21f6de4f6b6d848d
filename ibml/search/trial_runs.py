"""A proposal while it is tried, and its attempts: what is handed out to be trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import optuna

from ibml.config.trial import TrialConfig
from ibml.search.objective_values import MetricTracker
from ibml.search.space import Values


@dataclass
class TrialRun:
    """A proposal with one of its seeds, to be trained. `rungs` are the numbers of epochs after which it is judged."""

    number: int
    position: int
    config: TrialConfig
    values: Values
    rungs: tuple[int, ...]
    tracker: MetricTracker
    pruned: str = ""
    """Why it was stopped, once it was."""
    trained: int = 0
    """Epochs so far."""
    interval: Interval | None = None
    """Which part of its training the attempt is, where it is not the whole."""


@dataclass
class Interval:
    """A part of a training: it goes on from a `state` that was trained for `first` epochs, its own or one `copied` from
    another trial, and ends after `stop`. `initial` is the configuration and `initial_values` the values that the
    training began with, `changes` how they were changed since; `numbers` are the numeric values now."""

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
    """A trial of the study while it is tried: the values, and per finished seed the objectives' values."""

    trial: optuna.Trial
    values: Values
    config: TrialConfig
    curve: dict[int, float]
    """What was reported: step -> value."""
    seeds: list[dict[str, float]] = field(default_factory=list)
