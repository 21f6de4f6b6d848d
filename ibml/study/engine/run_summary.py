"""Counters of a run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RunSummary:
    """Counters of a run.

    Attributes:
        finished: Trials that finished or diverged.
        pruned: Trials that their search stopped early.
        reused: Trials whose result was known already.
        failed: Name and reason of each trial that has failed for good.
        interrupted: Whether the run was stopped before its end.
        shared: Epochs that trials took over from other trials' checkpoints.
    """

    finished: int = 0
    pruned: int = 0
    reused: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    shared: int = 0
