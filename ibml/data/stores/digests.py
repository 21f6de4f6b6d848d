"""Digests of files' content, remembered for as long as a file has the same size and times of change."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from ibml.common.paths import get_cache_folder
from ibml.data.base import Progress

_CHUNK = 512
_PATIENCE = 5.0
"""Seconds that a writer waits for another."""
_TABLE = "CREATE TABLE IF NOT EXISTS contents (path TEXT PRIMARY KEY, state TEXT, digest TEXT) WITHOUT ROWID"


def digests(root: Path, files: Collection[str], progress: Progress) -> dict[str, str | None]:
    """SHA-256 of each file below the root; None for one that is not there or is no file."""
    database = _open_database()
    with closing(database):
        base = str(root.resolve())
        found: dict[str, str | None] = {}
        fresh: list[tuple[str, str]] = []
        rest = iter(files)
        while chunk := list(islice(rest, _CHUNK)):
            known = _load_known(database, base, chunk)
            for file in chunk:
                state = _get_file_state(f"{base}/{file}")
                if state is None:
                    found[file] = None
                elif known.get(file, ("",))[0] == state:
                    found[file] = known[file][1]
                else:
                    fresh.append((file, state))
        done = 0
        for read in _hash_files(root, fresh):
            found |= {file: digest for file, _, digest in read}
            _save_digests(
                database,
                [(f"{base}/{file}", state, digest) for file, state, digest in read if digest],
            )
            done += len(read)
            progress("reading files", done, len(fresh))
    return found


def _get_file_state(path: str) -> str | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - making a Path of it takes longer than this
    except (OSError, ValueError):
        return None
    # what copies a file may give it the old one's time, but not that of the change of its entry
    return (
        f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
        if stat.S_ISREG(found.st_mode)
        else None
    )


def _hash_files(
    root: Path, fresh: list[tuple[str, str]]
) -> Iterator[list[tuple[str, str, str | None]]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(fresh), _CHUNK):
            chunk = fresh[start : start + _CHUNK]
            read = pool.map(lambda entry: _hash_file(root / entry[0]), chunk)
            yield [(*entry, digest) for entry, digest in zip(chunk, read, strict=True)]


def _hash_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _open_database() -> sqlite3.Connection:
    """In the user's cache; where that cannot be used, in memory, which costs a reading of the files each time."""
    with suppress(OSError, RuntimeError, sqlite3.Error):
        folder = get_cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(folder / "digests.db", timeout=_PATIENCE)
        database.execute(_TABLE)
        return database
    database = sqlite3.connect(":memory:")
    database.execute(_TABLE)
    return database


def _load_known(
    database: sqlite3.Connection, base: str, files: list[str]
) -> dict[str, tuple[str, str]]:
    """What is remembered of some files. Of all at once it would take a gigabyte for 2 million pictures."""
    query = (
        f"SELECT path, state, digest FROM contents WHERE path IN ({', '.join('?' * len(files))})"
    )
    with suppress(sqlite3.Error, UnicodeEncodeError):
        found = database.execute(query, [f"{base}/{file}" for file in files])
        return {path[len(base) + 1 :]: tuple(rest) for path, *rest in found}
    return {}


def _save_digests(database: sqlite3.Connection, rows: list[tuple[str, str, str]]) -> None:
    """At once and not at the end, since nobody else can write meanwhile."""
    with suppress(sqlite3.Error, UnicodeEncodeError), database:
        database.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", rows)
