"""What a study leaves behind: the records that tracking stores and reports read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ibml.config.base import Config, Items
from ibml.config.study import TableConfig

Status = Literal["finished", "diverged", "failed", "running"]


class TrialEntry(Config):
    """One trial of a study: which arm, data set and seed, and the key of its result."""

    arm: str
    dataset: str
    seed: int
    key: str


class StudyRecord(Config):
    """All that a table needs to know of a study besides the trials' results."""

    name: str
    description: str
    file_hash: str
    """Of the study's text and of the bases that it reads."""
    overrides: Items[str]
    """What the command line changed, as `path=value` texts."""
    reference: str
    arms: Items[str]
    datasets: Items[str]
    seeds: Items[int]
    epochs: dict[str, Items[int]]
    """By data set, the different numbers of epochs among the arms; one number means equal budgets."""
    notes: Items[str]
    metrics: Items[str]
    table: TableConfig
    trials: Items[TrialEntry]


@dataclass(frozen=True)
class TrialRecord:
    """A trial's result as MLflow has it. `ended_at` is in milliseconds since 1970, UTC."""

    key: str
    run_id: str
    status: Status
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    fingerprint: str = ""
    revision: str = ""
    platform: str = ""
    studies: dict[str, str] = field(default_factory=dict)
    """The studies that contain the trial, each with the name that its arm has there."""
    ended_at: int = 0

    @property
    def ended(self) -> bool:
        """Whether it is a result: finished, or diverged, which the same configuration always does."""
        return self.status in ("finished", "diverged")
