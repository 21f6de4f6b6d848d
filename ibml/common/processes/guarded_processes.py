"""Guarded child processes: they end with this process, even if it is killed."""

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
    """Start a watchdog that ends the processes started in this context, even if this one is killed.

    The watchdog runs in a separate session, so that signals to this process's group or terminal do
    not reach it. It waits for the end of its standard input, a pipe. Only this process holds the
    other end, because Python closes its files in child processes.

    Args:
        folder: Temporary folder of these processes, which the watchdog removes after them.

    Yields:
        Environment variables by which the watchdog recognizes the processes.
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
        # Without SPT_NOENV, setproctitle overwrites the environment of Ray's agents with a title.
        yield {watchdog.MARKER: mark, "SPT_NOENV": "1"}
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(b"\n", timeout=watchdog.GIVE_UP_SECONDS)
