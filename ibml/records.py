"""What a study leaves behind: the records that tracking stores and reports read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from ibml.config.base import Config, Items
from ibml.config.study.seeds import AdaptiveSeeds
from ibml.config.study.table import TableConfig

MetricRow = Mapping[str, float]
"""Metrics of one epoch, or the final metrics of a trial."""
Status = Literal["finished", "diverged", "failed", "pruned", "running"]


UNTUNED = "untuned"
"""The key of a trial whose arm has not been tuned yet."""


class TrialEntry(Config):
    """One trial of a study: which arm, data set and seed, and the key of its result."""

    arm: str
    dataset: str
    seed: int
    key: str


ProposalState = Literal["complete", "pruned", "failed", "running"]


class Change(Config):
    """A member of a population took over the training of the member `source`, and from `epoch` on (counted from 0)
    it trained with these values, by dotted path as in `ProposalRecord.params`."""

    epoch: int
    source: int
    values: dict[str, Any]


class ProposalRecord(Config):
    """One trial of a search: what was proposed, and what came of it. `values` are the objectives' means over seeds,
    `curve` what was reported while it trained (steps in epochs), `epochs` what it cost in all."""

    number: int
    state: ProposalState
    params: dict[str, Any]
    """Dotted path -> value, a choice that is no scalar as its JSON."""
    values: Items[float] | None
    curve: dict[int, float]
    epochs: int
    feasible: bool
    reason: str
    """Why it was stopped or failed, or that it diverged."""
    changes: Items[Change] = ()
    """How `params`, with which it began, changed while it trained."""

    @property
    def eligible(self) -> bool:
        """Whether it may be the best: complete, within the constraints, not diverged."""
        return bool(self.values) and self.feasible and not self.reason


class SearchRecord(Config):
    """All that a report needs to know of a search."""

    name: str
    description: str
    arm: str
    """The arm of an ablation that it tunes, else empty."""
    dataset: str
    file_hash: str
    overrides: Items[str]
    objectives: Items[tuple[str, Literal["maximize", "minimize"]]]
    sampler: dict[str, Any]
    scheduler: dict[str, Any]
    parameters: dict[str, Any]
    """Dotted path -> the range or the choices, as in the file; constants are left out."""
    trials: int
    """What the search comes to in all."""
    epochs: int
    """The most that one seed of a proposal trains."""
    seeds: Items[int]
    proposals: Items[ProposalRecord]
    best: int | None
    """The number of the best proposal; of several objectives, by the first."""
    best_params: dict[str, Any]
    """Dotted path -> value of the best proposal, constants included."""
    best_config: dict[str, Any]
    """Its configuration without a seed."""
    compared: dict[str, Items[str]] = {}
    """Label -> the names of the searches that were run to compare, this one among them."""
    notes: Items[str] = ()


class Tuning(Config):
    """The search that an arm got on a data set before it was evaluated, and what it chose."""

    arm: str
    dataset: str
    search: str = ""
    """Its name; none where the arm has nothing to tune."""
    trials: int = 0
    epochs: int = 0
    """Trained by the search in all."""
    params: dict[str, Any] = {}
    """Dotted path -> chosen value."""
    metric: str = ""
    value: float | None = None
    """The objective of the chosen proposal."""
    exhausted: bool = False
    """The search is done, and no proposal is complete and within the constraints."""
    fixed: Items[str] = ()
    """Parameters of the space that the arm itself sets, or that mean nothing in it."""


class DesignRecord(Config):
    """How the arms came about. `factors`: name -> levels, the first being the one that others are compared with;
    `components` are those that are off or on. `levels`: arm -> factor -> level. In a design of one factor at a time
    `values`: arm -> the value of its factor, and `paths`: factor -> its dotted path."""

    type: str = "arms"
    factors: dict[str, Items[str]] = {}
    components: Items[str] = ()
    levels: dict[str, dict[str, str]] = {}
    values: dict[str, Any] = {}
    paths: dict[str, str] = {}

    def get_active_factors(self, arm: str) -> list[str]:
        """The factors that an arm has at another level than the first; of components, those that are on."""
        return [
            name
            for name, level in self.levels.get(arm, {}).items()
            if level != self.factors[name][0]
        ]


_NEW_FIELDS = ("base_name", "tune")


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
    tuning: Items[Tuning] = ()
    tuning_note: str = ""
    """The budget that every arm's search had."""
    design: DesignRecord = DesignRecord()
    columns: dict[str, dict[str, Any]] = {}
    """What the arms consist of: name of a component or factor -> arm -> off or on (a bool), or a value."""
    adaptive: AdaptiveSeeds | None = None
    """How seeds were added, where `seeds` are only those that an arm may get."""
    configs: dict[str, dict[str, Any]] = {}
    """By data set, the reference's configuration: dotted path -> value."""
    modalities: dict[str, Items[str]] = {}
    """By data set, the modalities that its arms' trials have."""
    changes: dict[str, dict[str, dict[str, Any]]] = {}
    """By data set and arm, what differs from that; None where an arm has no such part."""
    base_name: str = ""
    """The name in the study's file, where `name` has the overrides of the command line or a version too."""
    tune: dict[str, Any] = {}
    """What determines the searches of the arms, as in a search-space file; empty where they are not tuned."""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_new(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Dump without fields of default value that versions before do not know, which then read the record."""
        plain: dict[str, Any] = dump(self)
        return {name: value for name, value in plain.items() if value or name not in _NEW_FIELDS}

    @property
    def steering(self) -> str:
        """The metric by which arms are decided where seeds are adaptive, else the first."""
        return self.adaptive.get_deciding_metric(self.metrics) if self.adaptive else self.metrics[0]

    @property
    def shown_arms(self) -> tuple[str, ...]:
        """The arms in the order of the table's groups, else of its rows, else of the design."""
        rows = [arm for arm in self.table.rows or self.arms if arm in self.arms]
        grouped = [arm for members in self.table.groups.values() for arm in members if arm in rows]
        return (*(arm for arm in rows if arm not in grouped), *grouped)


@dataclass(frozen=True)
class TrialRecord:
    """A trial's result as MLflow has it. `started_at` and `ended_at` are in milliseconds since 1970, UTC; `ended_at` is
    0 while MLflow has the run as running."""

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
    started_at: int = 0
    arm: str = ""
    """The name of its arm in the study that ran it first."""
    dataset: str = ""
    seed: int | None = None
    shape: str = ""
    driver: str = ""
    """Who trains it, while somebody does."""
    retries: int = 0
    """How often it went on after a failure."""

    @property
    def ended(self) -> bool:
        """Whether it is a result: finished, or diverged, which the same configuration always does."""
        return self.status in ("finished", "diverged")
