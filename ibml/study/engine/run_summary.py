"""Numbers of finished, pruned, reused and failed trials of a run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RunSummary:
    """Counters of a run.

    Attributes:
        finished: Trials that finished or diverged.
        pruned: Trials that their search stopped early.
        reused: Trials whose result was already known.
        failed: Name and reason of each trial that has exhausted its retries.
        interrupted: True if the run was stopped before its end.
        shared: Epochs that were not trained, since trials started from shared checkpoints.
    """

    finished: int = 0
    pruned: int = 0
    reused: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    shared: int = 0
