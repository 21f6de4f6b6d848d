"""Child processes that end with this process, however it ends."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ibml.common.processes import watchdog
from ibml.common.processes.ownership import RECORD, TemporaryFolder


@contextmanager
def guard_processes(folder: TemporaryFolder | None = None) -> Iterator[dict[str, str]]:
    """Start a watchdog that ends the processes started in this context, also if this process is killed.

    The watchdog has a session of its own, so that a signal to this process's group or terminal leaves it alone. This
    process holds the only other end of the pipe, since Python's files are closed in the processes that it starts.

    Args:
        folder: Temporary folder of these processes, which the watchdog removes after them.

    Yields:
        Environment variables by which the watchdog knows the processes.
    """
    mark = secrets.token_hex(8)
    command = [
        sys.executable,
        "-I",
        "-S",
        watchdog.__file__,
        mark,
        str(Path(psutil.__file__).parents[1]),
    ]
    command += [str(folder.path), RECORD, str(folder.lock)] if folder else []
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[folder.lock] if folder else [],
    )
    try:
        # Ray's agents write their titles over their environment unless setproctitle is told not to.
        yield {watchdog.MARKER: mark, "SPT_NOENV": "1"}
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(b"\n", timeout=watchdog.GIVE_UP_SECONDS)
