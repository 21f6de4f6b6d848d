"""Which runs an experiment has, asked of MLflow's database itself, which answers for thousands at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from sqlalchemy.pool import NullPool

from ibml.records import TrialRecord
from ibml.tracking.store.uri import is_database

_RUNS = sqlalchemy.table(
    "runs",
    *map(sqlalchemy.column, ("run_uuid", "experiment_id", "lifecycle_stage", "status", "end_time")),
)
_METRICS = sqlalchemy.table("latest_metrics", *map(sqlalchemy.column, ("run_uuid", "key", "value")))
_EXPERIMENTS = sqlalchemy.table("experiments", *map(sqlalchemy.column, ("experiment_id", "name")))
_TAGS = sqlalchemy.table("tags", *map(sqlalchemy.column, ("run_uuid", "key", "value")))
TERMINATED = ("FINISHED", "FAILED", "KILLED")
"""MLflow's statuses of a run that has come to an end."""


PROVENANCE = {
    "ibml.status": "status",
    "ibml.revision": "revision",
    "ibml.platform": "platform",
    "ibml.data": "fingerprint",
}
"""Tags that say how far a result can be used: by name, the field of its record."""


@dataclass(frozen=True)
class ListedRun:
    """When a run ended in milliseconds, 0 if it has not, and its tags of provenance."""

    ended_at: int
    tags: dict[str, str] = field(default_factory=dict)

    def is_consistent_with(self, record: TrialRecord) -> bool:
        """Whether the record still says what the store says."""
        same = all(getattr(record, PROVENANCE[name]) == value for name, value in self.tags.items())
        return self.ended_at == record.ended_at and same


def list_runs(address: str, experiment_id: str) -> dict[str, ListedRun] | None:
    """Run id -> what is listed, of all trials that are not deleted. None where the store is a server, or the database
    is not as expected: then MLflow has to be asked run by run."""
    of_experiment = (
        _RUNS.c.experiment_id == int(experiment_id),
        _RUNS.c.lifecycle_stage == "active",
    )
    trials = (
        sqlalchemy.select(_RUNS.c.run_uuid, _RUNS.c.status, _RUNS.c.end_time)
        .join(_TAGS, _TAGS.c.run_uuid == _RUNS.c.run_uuid)
        .where(*of_experiment, _TAGS.c.key == "ibml.kind", _TAGS.c.value == "trial")
    )
    tags = (
        sqlalchemy.select(_RUNS.c.run_uuid, _TAGS.c.key, _TAGS.c.value)
        .join(_TAGS, _TAGS.c.run_uuid == _RUNS.c.run_uuid)
        .where(*of_experiment, _TAGS.c.key.in_(PROVENANCE))
    )
    found = _query(address, trials, tags)
    if found is None:
        return None
    rows, tagged = found
    listed = {
        run_id: ListedRun((end or 0) if status in TERMINATED else 0) for run_id, status, end in rows
    }
    for run_id, key, value in tagged:
        if run_id in listed:
            listed[run_id].tags[key] = value
    return listed


def list_studies(address: str, experiment: str) -> list[str]:
    """List the names of the studies of a database; none where it does not answer as expected."""
    kinds = _TAGS.alias("kinds")
    names = (
        sqlalchemy.select(_TAGS.c.value)
        .distinct()
        .join(kinds, kinds.c.run_uuid == _TAGS.c.run_uuid)
        .join(_RUNS, _RUNS.c.run_uuid == _TAGS.c.run_uuid)
        .join(_EXPERIMENTS, _EXPERIMENTS.c.experiment_id == _RUNS.c.experiment_id)
        .where(_EXPERIMENTS.c.name == experiment, _RUNS.c.lifecycle_stage == "active")
        .where(kinds.c.key == "ibml.kind", kinds.c.value == "study", _TAGS.c.key == "ibml.study")
    )
    found = _query(address, names)
    return [name for (name,) in found[0]] if found else []


@dataclass(frozen=True)
class ListedTrial:
    """A trial as a database lists it: its key, status, data fingerprint and shape, and the values of some metrics."""

    key: str
    status: str
    fingerprint: str
    shape: str
    metrics: dict[str, float] = field(default_factory=dict)


def list_trials(address: str, experiment: str, metrics: Sequence[str]) -> list[ListedTrial] | None:
    """List all trials that are not deleted, without importing MLflow and without changing the database.

    Args:
        address: The URL of a database that exists.
        experiment: The name of the experiment.
        metrics: The metrics whose values are wanted.

    Returns:
        The trials; none where the database is not as expected or does not answer.
    """
    names = {
        "ibml.key": "key",
        "ibml.status": "status",
        "ibml.data": "fingerprint",
        "ibml.shape": "shape",
    }
    ours = (_EXPERIMENTS.c.name == experiment, _RUNS.c.lifecycle_stage == "active")
    tags = (
        sqlalchemy.select(_RUNS.c.run_uuid, _TAGS.c.key, _TAGS.c.value)
        .join(_TAGS, _RUNS.c.run_uuid == _TAGS.c.run_uuid)
        .join(_EXPERIMENTS, _EXPERIMENTS.c.experiment_id == _RUNS.c.experiment_id)
        .where(*ours, _TAGS.c.key.in_(names))
    )
    values = (
        sqlalchemy.select(_RUNS.c.run_uuid, _METRICS.c.key, _METRICS.c.value)
        .join(_METRICS, _RUNS.c.run_uuid == _METRICS.c.run_uuid)
        .join(_EXPERIMENTS, _EXPERIMENTS.c.experiment_id == _RUNS.c.experiment_id)
        .where(*ours, _METRICS.c.key.in_(metrics))
    )
    found = _query(address, tags, values)
    if found is None:
        return None
    runs: dict[str, dict[str, str]] = {}
    for run_id, key, value in found[0]:
        runs.setdefault(run_id, {})[names[key]] = value
    measured: dict[str, dict[str, float]] = {}
    for run_id, key, value in found[1]:
        measured.setdefault(run_id, {})[key] = float(value)
    empty = dict.fromkeys(names.values(), "")
    return [
        ListedTrial(**{**empty, **run}, metrics=measured.get(run_id, {}))
        for run_id, run in runs.items()
    ]


def _query(address: str, *statements: sqlalchemy.Select[Any]) -> list[Sequence[Any]] | None:
    """What a database answers; nothing where the store is none, or not as expected."""
    if not is_database(address):
        return None
    try:
        engine = sqlalchemy.create_engine(address, poolclass=NullPool)
        with engine.connect() as connection:
            return [connection.execute(statement).all() for statement in statements]
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError):
        return None
