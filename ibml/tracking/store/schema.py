"""The schema of MLflow's database: which revision it has, and a converted copy to read where it has an older one."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal
from urllib.parse import quote

from ibml.common.databases import build_sqlite_url, resolve_url
from ibml.common.processes.ownership import make_temporary_folder, remove_abandoned_folders
from ibml.common.redaction import redact_url
from ibml.tracking.store.uri import TrackingError

_JOURNALS = ("-wal", "-journal")
"""What SQLite keeps beside a file, and needs to read it."""
_BEYOND_READING = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""Errors of a file that cannot be read before its journal is applied to it."""
_LOCK_SECONDS = 20.0
"""How long a SQLite file may be locked by another process, as in MLflow."""


class EmptyStoreError(TrackingError):
    """A database that is to be read has no tables of MLflow."""


@dataclass(frozen=True)
class Schema:
    """The schema of a database, and the one that the installed MLflow needs.

    `state` is `empty` without MLflow's tables, and `unknown` for a revision that the installed MLflow does not have.
    `initialized` says whether the experiment is there without which MLflow opens no database.
    """

    state: Literal["empty", "current", "older", "unknown"]
    found: str
    needed: str
    initialized: bool = False

    @property
    def remedy(self) -> str:
        """What a person can do about a schema that is not current."""
        import mlflow

        if self.state == "unknown":
            return (
                f"MLflow {mlflow.__version__} does not know revision {self.found} of its schema (it needs"
                f" {self.needed}); a newer MLflow or another program made the database: upgrade MLflow, or name another"
            )
        return (
            f"its schema has revision {self.found}, and MLflow {mlflow.__version__} needs {self.needed};"
            " back up the database, then run `mlflow db upgrade URI`"
        )


def read_schema(address: str) -> Schema:
    """Read the revision of a database without a change to it.

    Args:
        address: The URL to connect to.

    Raises:
        SQLAlchemyError: The database cannot be read.
    """
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from mlflow.store.db.utils import _get_alembic_config
    from sqlalchemy import inspect, text

    scripts = ScriptDirectory.from_config(_get_alembic_config(""))
    needed = ", ".join(scripts.get_heads())
    with _build_engine(address).connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
        found = ", ".join(heads) or "none"
        if found == needed:
            default = connection.execute(
                text("SELECT 1 FROM experiments WHERE experiment_id = 0")
            ).first()
            return Schema("current", found, needed, default is not None)
        if not heads:
            return Schema(
                "older" if inspect(connection).has_table("experiments") else "empty", found, needed
            )
    try:
        scripts.get_revisions(heads)
    except CommandError:
        return Schema("unknown", found, needed)
    return Schema("older", found, needed)


class DatabaseCopy:
    """A copy of a SQLite file in a temporary folder, for a store that cannot be read where it is."""

    def __init__(self, database: Path):
        remove_abandoned_folders([gettempdir()])
        self._folder = make_temporary_folder()
        self.file = self._folder.path / database.name
        try:
            self._copy_database(database)
        except BaseException:
            self.remove()
            raise

    @property
    def address(self) -> str:
        """The URL of the copy."""
        return build_sqlite_url(self.file)

    def _copy_database(self, database: Path) -> None:
        """Copy by SQLite, so that others may write meanwhile; else the file with its journals, which SQLite then
        applies to the copy."""
        try:
            with (
                closing(_connect_read_only(database)) as original,
                closing(sqlite3.connect(self.file)) as copy,
            ):
                original.backup(copy)
        except sqlite3.OperationalError as error:
            if not _needs_copy(error):
                raise
            for ending in ("", *_JOURNALS):
                if (part := database.with_name(database.name + ending)).is_file():
                    shutil.copyfile(part, self.file.with_name(part.name))

    def upgrade(self) -> None:
        """Convert the copy to the schema of the installed MLflow."""
        from mlflow.store.db.utils import _upgrade_db

        _upgrade_db(_build_engine(self.address))

    def remove(self) -> None:
        """Remove the folder."""
        self._folder.remove()


def prepare_reading(uri: str, database: Path) -> str | DatabaseCopy:
    """Find out how a SQLite store can be read without a change to it.

    Args:
        uri: The URI of the store.
        database: Its file.

    Returns:
        The URL to connect to; or a copy, for a file with an older schema, or one that cannot be read before its
        journal is applied to it.

    Raises:
        EmptyStoreError: The file has no tables of MLflow.
        TrackingError: It is no file, or its schema is unknown.
        SQLAlchemyError: The file is not a database, or locked.
    """
    from sqlalchemy.exc import OperationalError

    if database.is_dir():
        raise TrackingError(f"MLflow at {redact_url(uri)}: {database} is a folder")
    address = resolve_url(uri, read_only=True)
    try:
        schema = require_tables(uri, read_schema(address))
        if schema.state == "current" and schema.initialized:
            return address
    except OperationalError as error:
        if not _needs_copy(error.orig):
            raise
    copy = DatabaseCopy(database)
    try:
        if require_tables(uri, read_schema(copy.address)).state == "older":
            copy.upgrade()
    except BaseException:
        copy.remove()
        raise
    return copy


def require_tables(uri: str, schema: Schema) -> Schema:
    """Return the schema of a store that is to be read.

    Raises:
        EmptyStoreError: MLflow has no tables there.
        TrackingError: The installed MLflow does not know the tables.
    """
    if schema.state == "empty":
        raise EmptyStoreError(
            f"nothing was run here yet: {redact_url(uri)} has no tables of MLflow"
        )
    if schema.state == "unknown":
        raise TrackingError(f"MLflow at {redact_url(uri)}: {schema.remedy}")
    return schema


def require_current(uri: str, schema: Schema, read_only: bool = False) -> None:
    """Let nobody convert a database by the way: those who share it may have an older MLflow.

    Args:
        uri: The URI of the store.
        schema: Its schema.
        to_read: Whether an empty database, which MLflow would fill with its tables, is refused too.

    Raises:
        TrackingError: The installed MLflow needs another schema.
    """
    if read_only:
        require_tables(uri, schema)
    if schema.state not in ("current", "empty"):
        raise TrackingError(f"MLflow at {redact_url(uri)}: {schema.remedy}")


def _build_engine(address: str) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    waiting = {"timeout": _LOCK_SECONDS} if address.startswith("sqlite") else {}
    return create_engine(address, poolclass=NullPool, connect_args=waiting)


def _connect_read_only(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=_LOCK_SECONDS)


def _needs_copy(error: BaseException | None) -> bool:
    """Whether an error is that of a file whose journal has to be applied first, which reading alone cannot do."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BEYOND_READING
