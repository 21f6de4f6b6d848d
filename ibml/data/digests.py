"""Digests of files' content, remembered for as long as a file has the same size and time of change."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from ibml.config.places import cache_folder

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""

_CHUNK = 512
_TABLE = (
    "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT)"
    " WITHOUT ROWID"
)


def digests(root: Path, files: Collection[str], progress: Progress) -> dict[str, str | None]:
    """SHA-256 of each file below the root; None for one that is not there or is no file."""
    database = _database()
    with closing(database):
        base = str(root.resolve())
        found: dict[str, str | None] = {}
        fresh: list[tuple[str, int, int]] = []
        rest = iter(files)
        while chunk := list(islice(rest, _CHUNK)):
            known = _known(database, base, chunk)
            for file in chunk:
                state = _state(f"{base}/{file}")
                if state is None:
                    found[file] = None
                elif known.get(file, ("",))[0:2] == state:
                    found[file] = known[file][2]
                else:
                    fresh.append((file, *state))
        for done, (file, size, changed, digest) in enumerate(_hashed(root, fresh), 1):
            found[file] = digest
            if digest is not None:
                _remember(database, f"{base}/{file}", size, changed, digest)
            if done % _CHUNK == 0 or done == len(fresh):
                progress("reading files", done, len(fresh))
        with suppress(sqlite3.Error):
            database.commit()
    return found


def _state(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - making a Path of it takes longer than this
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _hashed(root: Path, fresh: list[tuple[str, int, int]]) -> Iterator[tuple[str, int, int, str | None]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(fresh), _CHUNK):
            chunk = fresh[start : start + _CHUNK]
            for entry, digest in zip(chunk, pool.map(lambda entry: _digest(root / entry[0]), chunk), strict=True):
                yield (*entry, digest)


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _database() -> sqlite3.Connection:
    """In the user's cache; where that cannot be used, in memory, which costs a reading of the files each time."""
    with suppress(OSError, RuntimeError, sqlite3.Error):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(folder / "digests.db", timeout=20)
        database.execute(_TABLE)
        return database
    database = sqlite3.connect(":memory:")
    database.execute(_TABLE)
    return database


def _known(database: sqlite3.Connection, base: str, files: list[str]) -> dict[str, tuple[int, int, str]]:
    """What is remembered of some files. Of all at once it would take a gigabyte for 2 million pictures."""
    query = f"SELECT path, size, changed, digest FROM digests WHERE path IN ({', '.join('?' * len(files))})"
    with suppress(sqlite3.Error, UnicodeEncodeError):
        found = database.execute(query, [f"{base}/{file}" for file in files])
        return {path[len(base) + 1 :]: tuple(rest) for path, *rest in found}
    return {}


def _remember(database: sqlite3.Connection, path: str, size: int, changed: int, digest: str) -> None:
    with suppress(sqlite3.Error, UnicodeEncodeError):
        database.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", (path, size, changed, digest))
