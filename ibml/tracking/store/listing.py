"""SQL queries that list the runs of an experiment, for stores that are databases.

A query returns thousands of runs at once, while MLflow's API takes milliseconds for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from sqlalchemy.pool import NullPool

from ibml.records import TrialRecord
from ibml.tracking.store.uri import is_database


def _build_table(name: str, *columns: str) -> sqlalchemy.TableClause:
    return sqlalchemy.table(name, *map(sqlalchemy.column, columns))


_RUNS = _build_table("runs", "run_uuid", "experiment_id", "lifecycle_stage", "status", "end_time")
_METRICS = _build_table("latest_metrics", "run_uuid", "key", "value")
_EXPERIMENTS = _build_table("experiments", "experiment_id", "name")
_TAGS = _build_table("tags", "run_uuid", "key", "value")
TERMINATED = ("FINISHED", "FAILED", "KILLED")
"""MLflow's statuses of a run that has ended."""


PROVENANCE = {
    "ibml.status": "status",
    "ibml.revision": "revision",
    "ibml.platform": "platform",
    "ibml.data": "fingerprint",
}
"""Tags that decide whether a result can be reused -> the field of `TrialRecord`."""


@dataclass(frozen=True)
class ListedRun:
    """Fields of a trial's run that show whether its cached record is up to date.

    Attributes:
        ended_at: Time of the end in milliseconds since 1970, or 0.
        tags: The tags in `PROVENANCE`, as far as the run has them.
    """

    ended_at: int
    tags: dict[str, str] = field(default_factory=dict)

    def is_consistent_with(self, record: TrialRecord) -> bool:
        """Return whether a cached record agrees with the store."""
        if self.ended_at != record.ended_at:
            return False
        return all(getattr(record, PROVENANCE[name]) == value for name, value in self.tags.items())


def list_runs(address: str, experiment_id: str) -> dict[str, ListedRun] | None:
    """List the runs of all trials of an experiment that are not deleted.

    Args:
        address: URL of the store.
        experiment_id: MLflow's id of the experiment.

    Returns:
        Run id -> listed fields; None if the store is a server or its tables are not as expected.
        The runs must then be read through MLflow.
    """
    in_experiment = (
        _RUNS.c.experiment_id == int(experiment_id),
        _RUNS.c.lifecycle_stage == "active",
    )
    select_trials = (
        sqlalchemy.select(_RUNS.c.run_uuid, _RUNS.c.status, _RUNS.c.end_time)
        .join(_TAGS, _TAGS.c.run_uuid == _RUNS.c.run_uuid)
        .where(*in_experiment, _TAGS.c.key == "ibml.kind", _TAGS.c.value == "trial")
    )
    select_tags = (
        sqlalchemy.select(_RUNS.c.run_uuid, _TAGS.c.key, _TAGS.c.value)
        .join(_TAGS, _TAGS.c.run_uuid == _RUNS.c.run_uuid)
        .where(*in_experiment, _TAGS.c.key.in_(PROVENANCE))
    )
    found = _query(address, select_trials, select_tags)
    if found is None:
        return None
    trials, tags = found
    listed = {}
    for run_id, status, end_time in trials:
        ended_at = (end_time or 0) if status in TERMINATED else 0
        listed[run_id] = ListedRun(ended_at)
    for run_id, key, value in tags:
        if run_id in listed:
            listed[run_id].tags[key] = value
    return listed


def list_studies(address: str, experiment: str) -> list[str]:
    """Return the names of the studies of a database, or an empty list if it cannot be queried."""
    kinds = _TAGS.alias("kinds")
    select_names = (
        sqlalchemy.select(_TAGS.c.value)
        .distinct()
        .join(kinds, kinds.c.run_uuid == _TAGS.c.run_uuid)
        .join(_RUNS, _RUNS.c.run_uuid == _TAGS.c.run_uuid)
        .join(_EXPERIMENTS, _EXPERIMENTS.c.experiment_id == _RUNS.c.experiment_id)
        .where(_EXPERIMENTS.c.name == experiment, _RUNS.c.lifecycle_stage == "active")
        .where(kinds.c.key == "ibml.kind", kinds.c.value == "study", _TAGS.c.key == "ibml.study")
    )
    found = _query(address, select_names)
    return [name for (name,) in found[0]] if found else []


@dataclass(frozen=True)
class ListedTrial:
    """Summary of a trial that needs no MLflow.

    Attributes:
        key: Key of the trial.
        status: Tag `ibml.status` of its run.
        fingerprint: Fingerprint of its data.
        shape: Hash of what determines the duration of an epoch, and the number of epochs.
        metrics: The requested metrics, as far as the run has them.
    """

    key: str
    status: str
    fingerprint: str
    shape: str
    metrics: dict[str, float] = field(default_factory=dict)


def list_trials(address: str, experiment: str, metrics: Sequence[str]) -> list[ListedTrial] | None:
    """List all trials that are not deleted, without MLflow and without changing the database.

    Args:
        address: URL of an existing database.
        experiment: Name of the experiment.
        metrics: Metrics to include.

    Returns:
        The trials; None if the database does not respond or its tables are not as expected.
    """
    fields = {
        "ibml.key": "key",
        "ibml.status": "status",
        "ibml.data": "fingerprint",
        "ibml.shape": "shape",
    }
    in_experiment = (_EXPERIMENTS.c.name == experiment, _RUNS.c.lifecycle_stage == "active")
    select_tags = (
        sqlalchemy.select(_RUNS.c.run_uuid, _TAGS.c.key, _TAGS.c.value)
        .join(_TAGS, _RUNS.c.run_uuid == _TAGS.c.run_uuid)
        .join(_EXPERIMENTS, _EXPERIMENTS.c.experiment_id == _RUNS.c.experiment_id)
        .where(*in_experiment, _TAGS.c.key.in_(fields))
    )
    select_metrics = (
        sqlalchemy.select(_RUNS.c.run_uuid, _METRICS.c.key, _METRICS.c.value)
        .join(_METRICS, _RUNS.c.run_uuid == _METRICS.c.run_uuid)
        .join(_EXPERIMENTS, _EXPERIMENTS.c.experiment_id == _RUNS.c.experiment_id)
        .where(*in_experiment, _METRICS.c.key.in_(metrics))
    )
    found = _query(address, select_tags, select_metrics)
    if found is None:
        return None
    tags, values = found
    fields_of_runs: dict[str, dict[str, str]] = {}
    for run_id, key, value in tags:
        fields_of_runs.setdefault(run_id, {})[fields[key]] = value
    metrics_of_runs: dict[str, dict[str, float]] = {}
    for run_id, key, value in values:
        metrics_of_runs.setdefault(run_id, {})[key] = float(value)
    empty = dict.fromkeys(fields.values(), "")
    return [
        ListedTrial(**{**empty, **known}, metrics=metrics_of_runs.get(run_id, {}))
        for run_id, known in fields_of_runs.items()
    ]


def _query(address: str, *statements: sqlalchemy.Select[Any]) -> list[Sequence[Any]] | None:
    """Return the rows of each statement, or None if the store is no database or the query fails."""
    if not is_database(address):
        return None
    try:
        engine = sqlalchemy.create_engine(address, poolclass=NullPool)
        with engine.connect() as connection:
            return [connection.execute(statement).all() for statement in statements]
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError):
        return None
