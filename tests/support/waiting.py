"""Functions that wait for another process."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

COUNT_EPOCHS = "select count(*) from metrics where key = 'val.loss'"


def wait_until(true: Callable[[], object], seconds: float = 90) -> None:
    """Wait until a condition holds.

    Args:
        true: Returns whether the condition holds.
        seconds: Time limit.

    Raises:
        AssertionError: The condition does not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"the condition does not hold after {seconds} s"
        time.sleep(0.1)


def wait_for_epochs(folder: Path, number: int, seconds: float = 90) -> None:
    """Wait until the store in a folder has a number of trained epochs."""
    wait_until(lambda: count_epochs(folder) >= number, seconds)


def count_epochs(folder: Path) -> int:
    """Return the number of trained epochs in the store of a folder."""
    if not (folder / "mlflow.db").exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(folder / "mlflow.db", timeout=30)) as database:
            return int(database.execute(COUNT_EPOCHS).fetchone()[0])
    except sqlite3.OperationalError:  # the tables do not exist yet
        return 0


def wait_for_port(address: str, seconds: float = 60) -> None:
    """Wait until a process listens on an address."""
    host, port = address.split(":")

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False

    wait_until(listens, seconds)
