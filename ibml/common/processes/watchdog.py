"""A watchdog process: when its parent has ended, however it did, it ends the processes that the parent left behind.

Run as a script with the mark of these processes, the folder of psutil and, where there is one, the temporary folder
with its locked ownership record; standard input is a pipe from the parent. A parent that was killed cannot clean up
itself: some of Ray's processes outlive it by a minute, and MLflow's server for ever.
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
"""The environment variable that all guarded processes inherit; its value is their mark."""
PATIENCE_SECONDS = 3.0
"""Between SIGTERM and SIGKILL."""
GIVE_UP_SECONDS = 20.0
"""A process that SIGKILL does not end by then is in the kernel's hands."""


def watch(mark: str, folder: str = "", record: str = "", lock: str = "") -> None:
    """Wait until the parent writes a byte or ends, then end its processes and remove its temporary folder.

    Args:
        mark: Value of the environment variable `MARKER` of the guarded processes.
        folder: Temporary folder to remove.
        record: Name of the ownership record in it.
        lock: Inherited descriptor of that record, which keeps the folder locked meanwhile.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(
            number, signal.SIG_IGN
        )  # they are meant for the parent, with which this process ends
    sys.stdin.buffer.read(1)
    end_processes(mark)
    if folder and _is_record(os.path.join(folder, record), int(lock)):  # noqa: PTH118 - as few imports as possible
        shutil.rmtree(folder, ignore_errors=True)


def _is_record(path: str, lock: int) -> bool:
    """Return whether the ownership record is the one that is locked here."""
    try:
        return os.path.samestat(os.fstat(lock), os.lstat(path))
    except OSError:
        return False


def end_processes(mark: str) -> None:
    """End every process that carries the mark, also those that others start meanwhile."""
    import psutil

    begun, asked = time.monotonic(), set[psutil.Process]()
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
        with suppress(psutil.Error):  # it has ended, or is another user's
            if process.pid != os.getpid() and process.environ().get(MARKER) == mark:
                found.add(process)
    return found


if __name__ == "__main__":
    sys.path.append(sys.argv[2])
    watch(sys.argv[1], *sys.argv[3:])
