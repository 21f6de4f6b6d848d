"""Digests of files, remembered until the size or the times of a file change."""

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
"""Number of files that are hashed and stored together."""
_PATIENCE = 5.0
"""Seconds that a writer waits for another one."""
_TABLE = (
    "CREATE TABLE IF NOT EXISTS contents"
    " (path TEXT PRIMARY KEY, state TEXT, digest TEXT) WITHOUT ROWID"
)


def compute_digests(
    root: Path, files: Collection[str], progress: Progress
) -> dict[str, str | None]:
    """Compute the SHA-256 digest of each file, or look it up if the file has not changed.

    Args:
        root: Folder of the data set.
        files: Paths relative to the root.
        progress: Called while files are read.

    Returns:
        Digest by path; None for a path that does not exist or is not a file.
    """
    database = _open_database()
    with closing(database):
        base = str(root.resolve())
        found: dict[str, str | None] = {}
        changed: list[tuple[str, str]] = []
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
                    changed.append((file, state))
        done = 0
        for hashed in _hash_files(root, changed):
            rows = []
            for file, state, digest in hashed:
                found[file] = digest
                if digest:
                    rows.append((f"{base}/{file}", state, digest))
            _save_digests(database, rows)
            done += len(hashed)
            progress("reading files", done, len(changed))
    return found


def _get_file_state(path: str) -> str | None:
    """Return a text that changes with the file; None if there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - making a Path takes longer than this
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    # Programs that copy a file may copy its time of modification, but not the ctime.
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _hash_files(
    root: Path, files: list[tuple[str, str]]
) -> Iterator[list[tuple[str, str, str | None]]]:
    """Yield path, state and digest of the files in chunks, hashed by several threads."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), _CHUNK):
            chunk = files[start : start + _CHUNK]
            digests = pool.map(lambda entry: _hash_file(root / entry[0]), chunk)
            yield [(*entry, digest) for entry, digest in zip(chunk, digests, strict=True)]


def _hash_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _open_database() -> sqlite3.Connection:
    """Open the database in the user's cache.

    If the cache cannot be used, the database is in memory, and files are read in every process.
    """
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
    """Load state and digest of some files; those of 2 million files would take a gigabyte."""
    marks = ", ".join("?" * len(files))
    query = f"SELECT path, state, digest FROM contents WHERE path IN ({marks})"
    with suppress(sqlite3.Error, UnicodeEncodeError):
        found = database.execute(query, [f"{base}/{file}" for file in files])
        return {path[len(base) + 1 :]: tuple(rest) for path, *rest in found}
    return {}


def _save_digests(database: sqlite3.Connection, rows: list[tuple[str, str, str]]) -> None:
    """Save digests in one short transaction, since other processes cannot write during it."""
    with suppress(sqlite3.Error, UnicodeEncodeError), database:
        database.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", rows)
