"""Watchdog process: after its parent has ended, it ends the processes that the parent left behind.

A killed parent cannot clean up: some of Ray's processes outlive it by a minute, and MLflow's server
runs forever. The module is run as a script. Its arguments are the mark of the processes, the folder
of psutil and, if there is a temporary folder, that folder, the name of its ownership record and the
descriptor of the locked record. Standard input is a pipe from the parent.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

MARKER = "IBML_CLUSTER"
"""Environment variable that all guarded processes inherit; its value is their mark."""
PATIENCE_SECONDS = 3.0
"""Time between SIGTERM and SIGKILL."""
GIVE_UP_SECONDS = 20.0
"""Time limit for all processes to end, after which the watchdog ends itself."""


def watch(mark: str, folder: str = "", record: str = "", lock: str = "") -> None:
    """Wait until the parent writes a byte or ends, then end its processes and remove its folder.

    Args:
        mark: Value of the environment variable `MARKER` of the guarded processes.
        folder: Temporary folder to remove.
        record: Name of the ownership record in it.
        lock: Inherited descriptor of that record, which keeps the folder locked until then.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # signals are for the parent; this process follows it
    sys.stdin.buffer.read(1)
    end_processes(mark)
    if folder and _is_record(os.path.join(folder, record), int(lock)):  # noqa: PTH118 - as few imports as possible
        shutil.rmtree(folder, ignore_errors=True)


def _is_record(path: str, lock: int) -> bool:
    """Return True if the ownership record is the one that is locked here."""
    try:
        return os.path.samestat(os.fstat(lock), os.lstat(path))
    except OSError:
        return False


def end_processes(mark: str) -> None:
    """End every process with the mark, including those started while others are ending.

    Args:
        mark: Value of the environment variable `MARKER` of the processes.
    """
    import psutil

    begun = time.monotonic()
    asked = set[psutil.Process]()
    while (left := _find_marked(mark)) and (seconds := time.monotonic() - begun) < GIVE_UP_SECONDS:
        for process in left:
            with suppress(psutil.Error):
                if seconds > PATIENCE_SECONDS:
                    process.kill()
                elif process not in asked:
                    process.terminate()
        asked |= left
        time.sleep(0.1)


def _find_marked(mark: str) -> set[psutil.Process]:
    import psutil

    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # the process has ended or belongs to another user
            if process.pid != os.getpid() and process.environ().get(MARKER) == mark:
                found.add(process)
    return found


if __name__ == "__main__":
    sys.path.append(sys.argv[2])
    watch(sys.argv[1], *sys.argv[3:])
