"""Stored records of studies, searches and trials: written by tracking, read by reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from ibml.config.base import Config, Items
from ibml.config.study.seeds import AdaptiveSeeds
from ibml.config.study.table import TableConfig

MetricRow = Mapping[str, float]
"""Metrics of one epoch, or the final metrics of a trial, by name."""
Status = Literal["finished", "diverged", "failed", "pruned", "running"]
"""State of a trial."""

UNTUNED = "untuned"
"""Key of a trial whose arm is not tuned yet."""


class TrialEntry(Config):
    """One trial of a study: its arm, data set and seed, and the key of its result."""

    arm: str
    dataset: str
    seed: int
    key: str


ProposalState = Literal["complete", "pruned", "failed", "running"]
"""State of a trial of a search."""


class Change(Config):
    """Exploit step of population-based training: a member took over the training of another."""

    epoch: int
    """First epoch of the new values, counted from 0."""
    source: int
    """Number of the member whose training was taken over."""
    values: dict[str, Any]
    """New values by dotted path, as in `ProposalRecord.params`."""


class ProposalRecord(Config):
    """One trial of a search: its parameters and its results."""

    number: int
    state: ProposalState
    params: dict[str, Any]
    """Values by dotted path; a choice that is not a scalar is its JSON text."""
    values: Items[float] | None
    """Objectives, averaged over seeds."""
    curve: dict[int, float]
    """Reported values of the first objective by epoch."""
    epochs: int
    """Number of trained epochs in total."""
    feasible: bool
    reason: str
    """Reason of a stop or failure, or of the divergence; empty otherwise."""
    changes: Items[Change] = ()
    """Changes of `params`, the initial values, during training."""

    @property
    def eligible(self) -> bool:
        """True if the trial can be the best: complete, feasible and not diverged."""
        return bool(self.values) and self.feasible and not self.reason


class SearchRecord(Config):
    """Everything that the report of a search needs."""

    name: str
    description: str
    arm: str
    """Arm of an ablation that the search tunes, or empty."""
    dataset: str
    file_hash: str
    overrides: Items[str]
    objectives: Items[tuple[str, Literal["maximize", "minimize"]]]
    sampler: dict[str, Any]
    scheduler: dict[str, Any]
    parameters: dict[str, Any]
    """Range or choices by dotted path, as in the file, without constants."""
    trials: int
    """Total number of trials."""
    epochs: int
    """Maximum number of epochs of one seed of a trial."""
    seeds: Items[int]
    proposals: Items[ProposalRecord]
    best: int | None
    """Number of the best trial, by the first objective."""
    best_params: dict[str, Any]
    """Values of the best trial by dotted path, with constants."""
    best_config: dict[str, Any]
    """Configuration of the best trial, without a seed."""
    compared: dict[str, Items[str]] = {}
    """Names of the compared searches by label, with this one."""
    notes: Items[str] = ()


class Tuning(Config):
    """Search that tuned an arm on a data set before its evaluation, and the chosen values."""

    arm: str
    dataset: str
    search: str = ""
    """Name of the search; empty if the arm has nothing to tune."""
    trials: int = 0
    epochs: int = 0
    """Number of epochs that the search trained in total."""
    params: dict[str, Any] = {}
    """Chosen values by dotted path."""
    metric: str = ""
    value: float | None = None
    """Objective of the chosen trial."""
    exhausted: bool = False
    """True if the search has ended without a complete and feasible trial."""
    fixed: Items[str] = ()
    """Parameters of the space that the arm sets itself, or that have no effect in it."""


class DesignRecord(Config):
    """Design of a study: the factors and their level in every arm."""

    type: str = "arms"
    factors: dict[str, Items[str]] = {}
    """Levels by factor; the first is the reference level."""
    components: Items[str] = ()
    """Factors with the levels off and on."""
    levels: dict[str, dict[str, str]] = {}
    """Level by arm and factor."""
    values: dict[str, Any] = {}
    """Value of the factor by arm, in a design of one factor at a time."""
    paths: dict[str, str] = {}
    """Dotted path by factor, in a design of one factor at a time."""

    def get_active_factors(self, arm: str) -> list[str]:
        """Return the factors of an arm that are not at their reference level.

        For components, these are the ones that are on.
        """
        levels = self.levels.get(arm, {})
        return [name for name, level in levels.items() if level != self.factors[name][0]]


_NEW_FIELDS = ("base_name", "tune")


class StudyRecord(Config):
    """Everything that the table of a study needs, except the results of the trials."""

    name: str
    description: str
    file_hash: str
    """Hash of the study file and of the base files that it reads."""
    overrides: Items[str]
    """Overrides of the command line, as `path=value` texts."""
    reference: str
    arms: Items[str]
    datasets: Items[str]
    seeds: Items[int]
    epochs: dict[str, Items[int]]
    """Distinct numbers of epochs of the arms by data set; a single one means equal budgets."""
    notes: Items[str]
    metrics: Items[str]
    table: TableConfig
    trials: Items[TrialEntry]
    tuning: Items[Tuning] = ()
    tuning_note: str = ""
    """Search budget of every arm."""
    design: DesignRecord = DesignRecord()
    columns: dict[str, dict[str, Any]] = {}
    """Composition of the arms: off and on (a bool) or a value, by component or factor and arm."""
    adaptive: AdaptiveSeeds | None = None
    """Rule by which arms got seeds; `seeds` are then the ones that an arm can get."""
    configs: dict[str, dict[str, Any]] = {}
    """Configuration of the reference by data set, as values by dotted path."""
    modalities: dict[str, Items[str]] = {}
    """Modalities of the trials by data set."""
    changes: dict[str, dict[str, dict[str, Any]]] = {}
    """Differences from `configs` by data set and arm; None if an arm has no such field."""
    base_name: str = ""
    """Name in the study file, if `name` also has overrides or a version."""
    tune: dict[str, Any] = {}
    """Settings of the searches of the arms, as in a search-space file; empty without tuning."""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_new(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Dump the record without unset new fields, so that older versions can read it."""
        plain: dict[str, Any] = dump(self)
        return {name: value for name, value in plain.items() if value or name not in _NEW_FIELDS}

    @property
    def steering(self) -> str:
        """Metric that decides arms if seeds are adaptive, otherwise the first metric."""
        if self.adaptive:
            return self.adaptive.get_deciding_metric(self.metrics)
        return self.metrics[0]

    @property
    def shown_arms(self) -> tuple[str, ...]:
        """Arms in the order of the table: ungrouped rows first, then the groups."""
        rows = [arm for arm in self.table.rows or self.arms if arm in self.arms]
        grouped: list[str] = []
        for members in self.table.groups.values():
            grouped += [arm for arm in members if arm in rows]
        return (*(arm for arm in rows if arm not in grouped), *grouped)


@dataclass(frozen=True)
class TrialRecord:
    """Result of a trial, as stored in MLflow.

    Attributes:
        key: Hash of everything that determines the result.
        run_id: Id of the MLflow run.
        status: State of the trial.
        metrics: Final metrics by name.
        reason: Reason of a failure, divergence or pruning.
        fingerprint: Fingerprint of the data.
        revision: Code revision.
        platform: Kind of machine.
        studies: Studies that contain the trial, with the name of its arm in each.
        ended_at: End in milliseconds since 1970 (UTC); 0 while the MLflow run is running.
        started_at: Start in milliseconds since 1970 (UTC).
        arm: Name of its arm in the study that ran it first.
        dataset: Name of its data set in that study.
        seed: Seed, if known.
        shape: Hash of everything that determines its cost.
        driver: Driver that trains it, while it is running.
        retries: Number of retries after failures.
    """

    key: str
    run_id: str
    status: Status
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    fingerprint: str = ""
    revision: str = ""
    platform: str = ""
    studies: dict[str, str] = field(default_factory=dict)
    ended_at: int = 0
    started_at: int = 0
    arm: str = ""
    dataset: str = ""
    seed: int | None = None
    shape: str = ""
    driver: str = ""
    retries: int = 0

    @property
    def ended(self) -> bool:
        """True for a final result: finished or diverged, as the same configuration always does."""
        return self.status in ("finished", "diverged")
