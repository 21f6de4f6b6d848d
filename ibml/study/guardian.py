"""A process beside a driver: when that has ended, however it did, it ends what is left of its local Ray cluster.

Run as a script with the cluster's mark, its temporary folder and the folder of psutil, and a pipe from the driver as
standard input. A driver that was killed cannot do this itself, and some of Ray's processes outlive it by a minute.
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
"""The environment variable that all processes of a local cluster inherit; its value is the cluster's mark."""
PATIENCE_SECONDS = 3.0
"""Between SIGTERM and SIGKILL."""
GIVE_UP_SECONDS = 20.0
"""A process that SIGKILL does not end by then is in the kernel's hands."""


def watch(mark: str, folder: str) -> None:
    """Wait for the driver's word or its end, then clean up behind it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are meant for the driver, with which this process ends
    sys.stdin.buffer.read(1)
    end_processes(mark)
    shutil.rmtree(folder, ignore_errors=True)


def end_processes(mark: str) -> None:
    """End every process that carries the mark, also those that others start meanwhile."""
    import psutil

    begun, asked = time.monotonic(), set[psutil.Process]()
    while (left := _marked(mark)) and (seconds := time.monotonic() - begun) < GIVE_UP_SECONDS:
        for process in left:
            with suppress(psutil.Error):
                if seconds > PATIENCE_SECONDS:
                    process.kill()
                elif process not in asked:
                    process.terminate()
        asked |= left
        time.sleep(0.1)


def _marked(mark: str) -> set[psutil.Process]:
    import psutil

    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is another user's
            if process.pid != os.getpid() and process.environ().get(MARKER) == mark:
                found.add(process)
    return found


if __name__ == "__main__":
    sys.path.append(sys.argv[3])
    watch(*sys.argv[1:3])
