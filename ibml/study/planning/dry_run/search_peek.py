"""How many trials of a search are done already, read from its database without making or changing one."""

from __future__ import annotations

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
    """The searches of a database by name: how many of their trials are done, and what they search; or the problem
    because of which that is not known."""

    done: dict[str, int] = field(default_factory=dict)
    specs: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    def find_version(self, plan: SearchPlan, name: str) -> str | None:
        """Return the version of a search that this plan goes on with; none where it begins a new one."""
        wanted = _build_spec(plan)
        versions = [
            known for known in self.specs if re.fullmatch(rf"{re.escape(name)}( v\d+)?", known)
        ]
        return next(
            (known for known in versions if _drop_data(self.specs[known], wanted) == wanted), None
        )

    def has(self, name: str) -> bool:
        """Tell whether there is a search of that name, whatever it searches."""
        return name in self.specs


def peek_searches(url: str) -> SearchPeek:
    """Read the searches of a database if it is there and within reach."""
    problem = SearchPeek(problem=f"the search database {redact_url(url)} cannot be read as it is")
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
            done = {name: int(count) for name, count in connection.execute(counts)}
            return SearchPeek(
                done, {name: json.loads(text) for name, text in connection.execute(specs)}
            )
    except sqlalchemy.exc.SQLAlchemyError:
        return None


def _build_spec(plan: SearchPlan) -> dict[str, Any]:
    """What a plan searches, as the database has it. The content of a data set in files is left out, since reading it
    takes long."""
    from ibml import data

    fingerprint = ""
    if not isinstance(plan.space.base.data, FilesConfig):
        try:
            fingerprint = data.fingerprint(plan.space.base.data)
        except IbmlError:
            fingerprint = ""
    spec: dict[str, Any] = json.loads(json.dumps(plan.build_spec(fingerprint, TRAINER_REVISION)))
    return spec


def _drop_data(spec: Any, wanted: dict[str, Any]) -> Any:
    return {**spec, "data": ""} if isinstance(spec, dict) and not wanted["data"] else spec
