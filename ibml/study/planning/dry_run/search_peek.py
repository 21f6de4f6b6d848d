"""Number of trials of searches that are done, read from their database without changing it."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from ibml.common.databases import check_connection, get_sqlite_path, resolve_url
from ibml.common.errors import IbmlError
from ibml.common.redaction import redact_url
from ibml.config.datasets import FilesConfig
from ibml.search.database_url import SPEC
from ibml.search.plan import SearchPlan
from ibml.training.revision import TRAINER_REVISION

_DONE = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class SearchPeek:
    """Searches of a database.

    Attributes:
        done: Number of trials that are done, by name of the search.
        specs: Specification, by name of the search.
        problem: Reason why the database could not be read; empty if it could.
    """

    done: dict[str, int] = field(default_factory=dict)
    specs: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    def find_version(self, plan: SearchPlan, name: str) -> str | None:
        """Return the version of a search that a plan would resume.

        Args:
            plan: Plan of the search.
            name: Name of the search.

        Returns:
            Name of the version, or None if the plan would start a new one.
        """
        wanted = _build_spec(plan)
        pattern = re.compile(rf"{re.escape(name)}( v\d+)?")
        for known, spec in self.specs.items():
            if pattern.fullmatch(known) and _drop_data(spec, wanted) == wanted:
                return known
        return None

    def has(self, name: str) -> bool:
        """Return True if there is a search of this name, also with other settings."""
        return name in self.specs


def peek_searches(url: str) -> SearchPeek:
    """Read the searches of a database.

    Args:
        url: URL of the database.

    Returns:
        The searches; empty if the database does not exist, with a problem if it cannot be read.
    """
    problem = SearchPeek(problem=f"the search database {redact_url(url)} could not be read")
    try:
        file = get_sqlite_path(url)
        if file is not None and (not file.is_file() or not file.stat().st_size):
            return SearchPeek()
        return _read_searches(resolve_url(url, read_only=True)) or problem
    except (OSError, ImportError, ValueError):
        return problem


def _read_searches(address: str) -> SearchPeek | None:
    """Return the searches of a database, or None if it cannot be read."""
    import sqlalchemy  # takes a quarter of a second, and most previews need none
    from sqlalchemy.pool import NullPool

    studies = sqlalchemy.table("studies", *map(sqlalchemy.column, ("study_id", "study_name")))
    trials = sqlalchemy.table("trials", *map(sqlalchemy.column, ("study_id", "state")))
    columns = ("study_id", "key", "value_json")
    attributes = sqlalchemy.table("study_user_attributes", *map(sqlalchemy.column, columns))
    counts = (
        sqlalchemy.select(studies.c.study_name, sqlalchemy.func.count())
        .join(trials, trials.c.study_id == studies.c.study_id)
        .where(sqlalchemy.cast(trials.c.state, sqlalchemy.String).in_(_DONE))
        .group_by(studies.c.study_name)
    )
    specs = (
        sqlalchemy.select(studies.c.study_name, attributes.c.value_json)
        .join(attributes, attributes.c.study_id == studies.c.study_id)
        .where(attributes.c.key == SPEC)
    )
    try:
        check_connection(address)
        with sqlalchemy.create_engine(address, poolclass=NullPool).connect() as connection:
            peek = SearchPeek()
            for name, count in connection.execute(counts):
                peek.done[name] = int(count)
            for name, text in connection.execute(specs):
                peek.specs[name] = json.loads(text)
            return peek
    except sqlalchemy.exc.SQLAlchemyError:
        return None


def _build_spec(plan: SearchPlan) -> dict[str, Any]:
    """Return the specification of a plan as the database stores it.

    The content of a data set in files is left out, since reading it takes long.
    """
    from ibml import data

    fingerprint = ""
    if not isinstance(plan.space.base.data, FilesConfig):
        with contextlib.suppress(IbmlError):
            fingerprint = data.fingerprint(plan.space.base.data)
    spec: dict[str, Any] = json.loads(json.dumps(plan.build_spec(fingerprint, TRAINER_REVISION)))
    return spec


def _drop_data(spec: Any, wanted: dict[str, Any]) -> Any:
    """Return a specification without the data set's content if the wanted one has none."""
    return {**spec, "data": ""} if isinstance(spec, dict) and not wanted["data"] else spec
