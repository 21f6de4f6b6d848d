"""Results that were read before, in a file of the user's, since MLflow takes milliseconds for each."""

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
"""To be raised when a field of a record comes to mean something else; other fields are noticed without."""
_VERSION = zlib.crc32(repr((FORMAT, [part.name for part in fields(TrialRecord)])).encode()) >> 1
"""SQLite's `user_version` has 31 bits."""
WAIT_SECONDS = 5.0
"""For another process that writes."""
_TABLES = (
    "DROP TABLE IF EXISTS runs",
    "DROP TABLE IF EXISTS state",
    "CREATE TABLE runs (run_id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE state (id INTEGER PRIMARY KEY, read_at INTEGER NOT NULL, deleted TEXT NOT NULL)",
    f"PRAGMA user_version = {_VERSION}",
)


@dataclass(frozen=True)
class CachedResults:
    """What a store was when it was last read: its runs that had come to an end, by id, and the ids of runs that were
    deleted. `read_at` is when that reading began, in milliseconds since 1970; none where all is still to be read."""

    records: dict[str, TrialRecord] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    read_at: int | None = None


class ResultCache:
    """Its file is read and written by any number of processes. Whatever is wrong with it is no error: a damaged one,
    or one of another version, is begun anew, and one that cannot be used counts as empty."""

    def __init__(self, file: Path | None):
        self.file = file

    def read(self) -> CachedResults:
        return self._run_job(_read_contents, CachedResults())

    def write(
        self,
        records: Iterable[TrialRecord],
        forget: Iterable[str],
        deleted: Collection[str],
        read_at: int,
    ) -> None:
        """Take in what one whole reading found, or nothing of it: a part would hide what was not taken in."""

        def job(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                "DELETE FROM runs WHERE run_id = ?", [(run_id,) for run_id in forget]
            )
            rows = [(record.run_id, json.dumps(vars(record))) for record in records]
            database.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?)", rows)
            database.execute(
                "INSERT OR REPLACE INTO state VALUES (0, ?, ?)",
                (read_at, json.dumps(sorted(deleted))),
            )
            database.execute("COMMIT")

        self._run_job(job, None)

    def share(self, run_id: str, study: str, arm: str) -> None:
        """A run, if it is here, is part of one more study."""
        self._update_record(run_id, lambda record: record["studies"].update({study: arm}))

    def relabel(self, run_id: str, studies: Mapping[str, str], arm: str) -> None:
        """Change the studies of a run, if it is here, and the name of its arm."""
        self._update_record(run_id, lambda record: record.update(studies=dict(studies), arm=arm))

    def _update_record(self, run_id: str, change: Callable[[dict[str, Any]], None]) -> None:
        def job(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            for (text,) in database.execute(
                "SELECT record FROM runs WHERE run_id = ?", (run_id,)
            ).fetchall():
                record = json.loads(text)
                change(record)
                database.execute(
                    "UPDATE runs SET record = ? WHERE run_id = ?", (json.dumps(record), run_id)
                )
            database.execute("COMMIT")

        self._run_job(job, None)

    def _run_job(self, job: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        if self.file is None:
            return otherwise
        for _ in range(2):
            try:
                with closing(_connect(self.file)) as database:
                    return job(database)
            except (OSError, sqlite3.Error, ValueError, TypeError, KeyError) as error:
                busy = getattr(error, "sqlite_errorcode", 0) in (
                    sqlite3.SQLITE_BUSY,
                    sqlite3.SQLITE_LOCKED,
                )
                if busy or not _remove_file(self.file):
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
    try:
        if file.exists() and not file.is_file():
            return False  # a folder or a device is none of ours
        for name in (
            f"{file.name}-journal",
            file.name,
        ):  # a journal would be applied to the new file
            file.with_name(name).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def resolve_cache_file(uri: str, experiment_id: str, created: int) -> Path | None:
    """The file for an experiment of a store; none where the user has no folder for it. `uri` has no password,
    `created` tells an experiment from one that had its id before."""
    try:
        folder = get_cache_folder()
    except HomeError:  # a container's user need not have a home
        return None
    name = sha256(f"{uri}\n{experiment_id}\n{created}".encode()).hexdigest()[:32]
    return folder / f"results-{name}.sqlite"
