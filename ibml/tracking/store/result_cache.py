"""Cache of trial records in a SQLite file of the user.

MLflow takes milliseconds to read one run; the cache reads thousands at once.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from ibml.common.paths import HomeError, get_cache_folder
from ibml.records import TrialRecord

T = TypeVar("T")

FORMAT = 1
"""Raise this if a field of `TrialRecord` changes its meaning; other changes are detected."""
_VERSION = zlib.crc32(repr((FORMAT, [part.name for part in fields(TrialRecord)])).encode()) >> 1
"""SQLite's `user_version` has 31 bits."""
WAIT_SECONDS = 5.0
"""Time limit for a lock that another process holds."""
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_TABLES = (
    "DROP TABLE IF EXISTS runs",
    "DROP TABLE IF EXISTS state",
    "CREATE TABLE runs (run_id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE state (id INTEGER PRIMARY KEY, read_at INTEGER NOT NULL, deleted TEXT NOT NULL)",
    f"PRAGMA user_version = {_VERSION}",
)


@dataclass(frozen=True)
class CachedResults:
    """State of a store when it was last read.

    Attributes:
        records: Run id -> record, for runs that had ended.
        deleted: Ids of deleted runs.
        read_at: Time in milliseconds since 1970 at which the last reading began; None if there was
            none.
    """

    records: dict[str, TrialRecord] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    read_at: int | None = None


class ResultCache:
    """Cache file that any number of processes read and write.

    Errors are never raised. A damaged file, or one of another version, is replaced by an empty one.
    A file that cannot be used counts as empty.

    Args:
        file: Path of the file; None disables the cache.
    """

    def __init__(self, file: Path | None):
        self.file = file

    def read(self) -> CachedResults:
        """Return the cached state of the store."""
        return self._run_job(_read_contents, CachedResults())

    def write(
        self,
        records: Iterable[TrialRecord],
        forget: Iterable[str],
        deleted: Collection[str],
        read_at: int,
    ) -> None:
        """Store the findings of one complete reading in one transaction.

        Args:
            records: New or changed records.
            forget: Ids of runs to remove.
            deleted: Ids of deleted runs, replacing the previous ones.
            read_at: Time in milliseconds since 1970 at which the reading began.
        """

        def write_all(database: sqlite3.Connection) -> None:
            removed = [(run_id,) for run_id in forget]
            rows = [(record.run_id, json.dumps(vars(record))) for record in records]
            state = (read_at, json.dumps(sorted(deleted)))
            database.execute("BEGIN IMMEDIATE")
            database.executemany("DELETE FROM runs WHERE run_id = ?", removed)
            database.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?)", rows)
            database.execute("INSERT OR REPLACE INTO state VALUES (0, ?, ?)", state)
            database.execute("COMMIT")

        self._run_job(write_all, None)

    def share(self, run_id: str, study: str, arm: str) -> None:
        """Add a study to a cached run; other runs are ignored.

        Args:
            run_id: Id of the run.
            study: Name of the study.
            arm: Name of the trial's arm in the study.
        """
        self._update_record(run_id, lambda record: record["studies"].update({study: arm}))

    def relabel(self, run_id: str, studies: Mapping[str, str], arm: str) -> None:
        """Replace the studies and the arm of a cached run; other runs are ignored.

        Args:
            run_id: Id of the run.
            studies: Name of a study -> name of the trial's arm in it.
            arm: Arm in the study that owns the run.
        """
        self._update_record(run_id, lambda record: record.update(studies=dict(studies), arm=arm))

    def _update_record(self, run_id: str, change: Callable[[dict[str, Any]], None]) -> None:
        def update(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            select = "SELECT record FROM runs WHERE run_id = ?"
            for (text,) in database.execute(select, (run_id,)).fetchall():
                record = json.loads(text)
                change(record)
                row = (json.dumps(record), run_id)
                database.execute("UPDATE runs SET record = ? WHERE run_id = ?", row)
            database.execute("COMMIT")

        self._run_job(update, None)

    def _run_job(self, job: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Return what a job returns, or `otherwise` if the cache cannot be used.

        A damaged file is removed, and the job is tried once more.
        """
        if self.file is None:
            return otherwise
        for _ in range(2):
            try:
                with closing(_connect(self.file)) as database:
                    return job(database)
            except (OSError, sqlite3.Error, ValueError, TypeError, KeyError) as error:
                is_locked = getattr(error, "sqlite_errorcode", 0) in _LOCKED
                if is_locked or not _remove_file(self.file):
                    break
        return otherwise


def _connect(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(file, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        if _read_version(database) != _VERSION:
            database.execute("BEGIN IMMEDIATE")
            if _read_version(database) != _VERSION:  # another process may have been first
                for statement in _TABLES:
                    database.execute(statement)
            database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _read_version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _read_contents(database: sqlite3.Connection) -> CachedResults:
    database.execute("BEGIN")
    state = database.execute("SELECT read_at, deleted FROM state").fetchone()
    if state is None:
        return CachedResults()
    rows = database.execute("SELECT run_id, record FROM runs")
    records = {run_id: TrialRecord(**json.loads(text)) for run_id, text in rows}
    return CachedResults(records, frozenset(json.loads(state[1])), int(state[0]))


def _remove_file(file: Path) -> bool:
    """Remove a cache file, and return True if it could be removed."""
    try:
        if file.exists() and not file.is_file():
            return False  # ibml never creates a folder or a device here
        # The journal is removed first: SQLite would apply it to a new file.
        for name in (f"{file.name}-journal", file.name):
            file.with_name(name).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def resolve_cache_file(uri: str, experiment_id: str, created: int) -> Path | None:
    """Return the cache file of an experiment.

    Args:
        uri: URI of the store without password.
        experiment_id: MLflow's id of the experiment.
        created: Creation time of the experiment; distinguishes experiments with the same id.

    Returns:
        The path, or None if the user has no home folder.
    """
    try:
        folder = get_cache_folder()
    except HomeError:  # a container's user need not have a home
        return None
    name = sha256(f"{uri}\n{experiment_id}\n{created}".encode()).hexdigest()[:32]
    return folder / f"results-{name}.sqlite"
