"""Tasks of the engine: trials to train, and prior results that replace the training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ibml.common.storage import StoragePath
from ibml.config.optimization import Keep
from ibml.config.trial import TrialConfig
from ibml.records import MetricRow
from ibml.search.search import Ending, Search
from ibml.search.trial_runs import Interval, TrialRun
from ibml.study.engine.retry import Fault
from ibml.study.planning.trials import TrialSpec

_LATE_FACTOR = 5.0
"""A task is late if its silence exceeds this factor times (longest silence so far + 1 s)."""


@dataclass(frozen=True)
class PriorResult:
    """Known result of a key, from the store or from this run.

    Attributes:
        rows: Metrics per epoch; empty if no search needs them.
        ending: How the trial ended; None if it did not.
        final: Final metrics.
        reason: Reason of the ending, if any.
    """

    rows: Sequence[MetricRow]
    ending: Ending | None = None
    final: MetricRow = field(default_factory=dict)
    reason: str = ""

    @property
    def complete(self) -> bool:
        """True if a planned trial with this result need not be trained."""
        return self.ending in ("finished", "diverged")


class SearchSource(Protocol):
    """A search whose proposals become tasks."""

    @property
    def search(self) -> Search:
        """The search."""

    def make_task(self, trial_run: TrialRun) -> TrialTask:
        """Return the task that trains a run of the search."""


@dataclass(eq=False)
class TrialTask:
    """A trial to train, with the state of its training.

    Attributes:
        spec: What to train.
        parent: Id of the MLflow run of its study or search.
        tags: Tags of its run.
        source: The search that proposed it, if any.
        attempt: The attempt of that search.
        faults: Faults so far.
        epochs: Number of epochs reported since it was started.
        rows: Metrics per epoch that searches need; empty without searches.
        warm_start_candidates: Checkpoints of other trials to start from, the deepest first.
        checkpoints_to_save: Checkpoints to save for other trials, by number of epochs.
        last_report: Monotonic time of the last report, in seconds.
        longest_silence: Longest time between two reports, in seconds.
    """

    spec: TrialSpec
    parent: str | None
    tags: dict[str, str] = field(default_factory=dict)
    source: SearchSource | None = None
    trial_run: TrialRun | None = None
    faults: list[Fault] = field(default_factory=list)
    epochs: int = 0
    rows: list[MetricRow] = field(default_factory=list)
    warm_start_candidates: list[tuple[int, StoragePath]] = field(default_factory=list)
    checkpoints_to_save: dict[int, StoragePath] = field(default_factory=dict)
    last_report: float = 0.0
    longest_silence: float = 0.0

    @property
    def key(self) -> str:
        """Key of its result."""
        return self.spec.key

    @property
    def config(self) -> TrialConfig:
        """Configuration to train; for a member of a population, with its current values."""
        return self.trial_run.config if self.trial_run else self.spec.config

    @property
    def interval(self) -> Interval | None:
        """Interval of a population that the task trains; None for a whole training."""
        return self.trial_run.interval if self.trial_run else None

    @property
    def keep(self) -> Keep:
        """Files to keep; none for trials of a search, since training is reproducible."""
        return "none" if self.trial_run else self.config.trainer.keep

    @property
    def first_epoch(self) -> int:
        """Number of epochs before the interval of the task."""
        return self.interval.first if self.interval else 0

    @property
    def trained_epochs(self) -> int:
        """Number of epochs that are trained according to the reports."""
        return self.first_epoch + self.epochs

    @property
    def rungs(self) -> tuple[int, ...]:
        """Numbers of epochs after which the search decides whether the trial continues."""
        return self.trial_run.rungs if self.trial_run else ()

    @property
    def interval_values(self) -> dict[str, float]:
        """Numeric values of an interval, logged per epoch since they change between intervals."""
        if self.interval is None:
            return {}
        return {f"value.{path}": value for path, value in self.interval.numbers.items()}

    def record_report(self) -> None:
        """Record the time of a start or a report."""
        now = time.monotonic()
        silence = now - self.last_report if self.last_report else 0.0
        self.longest_silence = max(self.longest_silence, silence)
        self.last_report = now

    def reset_progress(self) -> None:
        """Discard the epochs of a training that will be started again."""
        self.epochs, self.last_report = 0, 0.0
        self.rows.clear()

    @property
    def is_late(self) -> bool:
        """True if it has been silent so long that no other task should wait for it."""
        silence = time.monotonic() - self.last_report
        return self.longest_silence > 0 and silence > _LATE_FACTOR * (1 + self.longest_silence)
