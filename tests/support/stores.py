"""An empty MLflow database that tests copy, because MLflow takes seconds to create its tables."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ibml.tracking.store import experiment

create_tables = experiment._create_tables
"""Creates MLflow's tables as ibml does, by MLflow's migrations."""


class EmptyStore:
    """Template in a folder that all workers of pytest-xdist share; the first worker creates it."""

    def __init__(self) -> None:
        self.folder = Path()

    def copy_to(self, database: Path, working_folder: Path) -> None:
        """Fill an empty or missing database file with MLflow's tables.

        Args:
            database: File to fill.
            working_folder: Folder in which a command would have created the tables.
        """
        template = self.folder / "empty-mlflow.db"
        with self._lock():
            if not template.exists():
                draft = template.with_suffix(".draft")
                draft.unlink(missing_ok=True)
                create_tables(draft)
                draft.rename(template)
        with (
            closing(sqlite3.connect(template)) as empty,
            closing(sqlite3.connect(database, timeout=30)) as copy,
        ):
            empty.backup(copy)
            copy.execute(
                "update experiments set artifact_location = ?",
                (f"{working_folder.absolute()}/mlruns/0",),
            )
            copy.commit()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.folder / "empty-mlflow.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


EMPTY_STORE = EmptyStore()
"""Template of this test session; `tests/conftest.py` sets its folder."""
