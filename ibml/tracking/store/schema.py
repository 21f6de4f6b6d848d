"""Schema of MLflow's database: its revision, and upgraded copies for reading older databases."""

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
"""Suffixes of files that SQLite stores next to a database and needs for reading it."""
_BEYOND_READING = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""Errors of a file whose journal must be applied before it can be read."""
_LOCK_SECONDS = 20.0
"""Time limit for the lock of another process on a SQLite file, as in MLflow."""


class EmptyStoreError(TrackingError):
    """The database to read has no MLflow tables."""


@dataclass(frozen=True)
class Schema:
    """Schema of a database, compared with the schema that the installed MLflow needs.

    Attributes:
        state: `empty` for a database without MLflow tables; `unknown` for a revision that the
            installed MLflow does not know.
        found: Revision of the database, or `none`.
        needed: Revision that the installed MLflow needs.
        initialized: True if the database has MLflow's default experiment, which MLflow needs to
            open it.
    """

    state: Literal["empty", "current", "older", "unknown"]
    found: str
    needed: str
    initialized: bool = False

    @property
    def remedy(self) -> str:
        """Explanation of a schema that is not current, with what to do."""
        import mlflow

        version = mlflow.__version__
        if self.state == "unknown":
            return (
                f"MLflow {version} does not know revision {self.found} of its schema (it needs"
                f" {self.needed}); a newer MLflow or another program made the database:"
                " upgrade MLflow, or name another"
            )
        return (
            f"its schema has revision {self.found}, and MLflow {version} needs {self.needed};"
            " back up the database, then run `mlflow db upgrade URI`"
        )


def read_schema(address: str) -> Schema:
    """Return the schema of a database, without changing the database.

    Args:
        address: URL to connect to.

    Returns:
        The schema, compared with that of the installed MLflow.

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
            query = text("SELECT 1 FROM experiments WHERE experiment_id = 0")
            default = connection.execute(query).first()
            return Schema("current", found, needed, default is not None)
        if not heads:
            has_tables = inspect(connection).has_table("experiments")
            return Schema("older" if has_tables else "empty", found, needed)
    try:
        scripts.get_revisions(heads)
    except CommandError:
        return Schema("unknown", found, needed)
    return Schema("older", found, needed)


class DatabaseCopy:
    """Copy of a SQLite file in a temporary folder, for a store that cannot be read in place.

    Args:
        database: File to copy.

    Attributes:
        file: Path of the copy.
    """

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
        """URL of the copy."""
        return build_sqlite_url(self.file)

    def _copy_database(self, database: Path) -> None:
        """Copy the database while other processes may write to it.

        If SQLite cannot read the file, copy it with its journals, which SQLite then applies to the
        copy.
        """
        try:
            with (
                closing(_connect_read_only(database)) as original,
                closing(sqlite3.connect(self.file)) as copy,
            ):
                original.backup(copy)
        except sqlite3.OperationalError as error:
            if not _needs_copy(error):
                raise
            for suffix in ("", *_JOURNALS):
                source = database.with_name(database.name + suffix)
                if source.is_file():
                    shutil.copyfile(source, self.file.with_name(source.name))

    def upgrade(self) -> None:
        """Upgrade the copy to the schema of the installed MLflow."""
        from mlflow.store.db.utils import _upgrade_db

        _upgrade_db(_build_engine(self.address))

    def remove(self) -> None:
        """Remove the copy and its folder."""
        self._folder.remove()


def prepare_reading(uri: str, database: Path) -> str | DatabaseCopy:
    """Prepare a SQLite store for reading, without changing it.

    Args:
        uri: URI of the store.
        database: File of the store.

    Returns:
        The URL to connect to. For a file with an older schema, or whose journal must be applied
        first, a copy of the file.

    Raises:
        EmptyStoreError: The file has no MLflow tables.
        TrackingError: The path is a folder, or the schema is unknown.
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
    """Refuse a store that cannot be read because it has no tables or unknown ones.

    Args:
        uri: URI of the store, for messages.
        schema: Its schema.

    Returns:
        The schema.

    Raises:
        EmptyStoreError: The store has no MLflow tables.
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
    """Refuse a database that MLflow would have to upgrade: others may use it with an older MLflow.

    Args:
        uri: URI of the store, for messages.
        schema: Its schema.
        read_only: If True, refuse an empty database too; MLflow would create its tables in it.

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
    """Return whether an error means that the journal of a file must be applied before reading."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BEYOND_READING
