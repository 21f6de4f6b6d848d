"""Which runs an experiment has, asked of MLflow's database itself, which answers for thousands at once."""

from __future__ import annotations

import sqlalchemy
from sqlalchemy.pool import NullPool

from ibml.tracking.uri import resolved_uri

_RUNS = sqlalchemy.table(
    "runs", *map(sqlalchemy.column, ("run_uuid", "experiment_id", "lifecycle_stage", "status", "end_time"))
)
_TAGS = sqlalchemy.table("tags", *map(sqlalchemy.column, ("run_uuid", "key", "value")))
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
TERMINATED = ("FINISHED", "FAILED", "KILLED")
"""MLflow's statuses of a run that has come to an end."""


def listed_ends(uri: str, experiment_id: str) -> dict[str, int] | None:
    """Run id -> when it ended in milliseconds, 0 if it has not, of all trials that are not deleted. None where the
    store is a server, or the database is not as expected: then MLflow has to be asked run by run."""
    if uri.partition(":")[0].partition("+")[0] not in _DATABASES:
        return None
    statement = (
        sqlalchemy.select(_RUNS.c.run_uuid, _RUNS.c.status, _RUNS.c.end_time)
        .join(_TAGS, _TAGS.c.run_uuid == _RUNS.c.run_uuid)
        .where(_RUNS.c.experiment_id == int(experiment_id), _RUNS.c.lifecycle_stage == "active")
        .where(_TAGS.c.key == "ibml.kind", _TAGS.c.value == "trial")
    )
    try:
        engine = sqlalchemy.create_engine(resolved_uri(uri), poolclass=NullPool)
        with engine.connect() as connection:
            rows = connection.execute(statement).all()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError):
        return None
    return {run_id: (end or 0) if status in TERMINATED else 0 for run_id, status, end in rows}
