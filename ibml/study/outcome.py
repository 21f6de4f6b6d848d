"""How the run of a study went."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Counters of a run.

    Attributes:
        finished: Trials that were trained to their end.
        pruned: Trials that a search stopped early.
        reused: Trials whose result was known.
        failed: Name and reason of every trial that failed.
        interrupted: Whether the run was stopped before its end.
        shared: Epochs that trials took over from others.
    """

    finished: int = 0
    pruned: int = 0
    reused: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    shared: int = 0
