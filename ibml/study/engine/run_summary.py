"""How the run of a study went."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """`failed` has (trial's name, reason); `retried` counts how often a trial went on after a fault, and `shared` the
    epochs that trials took over from others."""

    finished: int = 0
    pruned: int = 0
    reused: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    retried: int = 0
    shared: int = 0
