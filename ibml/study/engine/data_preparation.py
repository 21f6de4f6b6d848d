"""Validation and decoding of data sets before the first trial, with a progress display."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ibml import data
from ibml.common.processes.interruption import raise_if_stop_requested
from ibml.common.sanitize import strip_control_characters
from ibml.config.data import DataConfig
from ibml.data.base import Progress as ProgressCallback

_log = logging.getLogger(__name__)

QUIET_SECONDS = 10.0
"""Interval of progress lines if the output is not a terminal."""


def prepare_data(configs: Iterable[DataConfig], console: Console) -> None:
    """Validate data sets, and decode files that are not in the decode cache.

    Args:
        configs: Configurations of the data sets.
        console: Console for progress and messages.

    Raises:
        DataError: If a data set is missing or invalid.
    """

    def report(text: str) -> None:
        _log.warning("%s", strip_control_characters(text))
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    with show_data_progress(console) as progress:
        data.prepare_datasets(configs, report, progress)


@contextmanager
def show_data_progress(console: Console) -> Iterator[ProgressCallback]:
    """Show the progress of operations on data sets.

    On a terminal every operation has a bar; otherwise a line is printed every few seconds.

    Args:
        console: Console for the progress.

    Yields:
        A callback that takes the operation, the number of finished items and their total.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    printed_at = time.monotonic()
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def update_progress(operation: str, done: int, total: int) -> None:
            nonlocal printed_at
            raise_if_stop_requested()
            if operation not in tasks:
                tasks[operation] = bars.add_task(operation, total=total)
            bars.update(tasks[operation], completed=done, total=total)
            if not console.is_terminal and time.monotonic() - printed_at > QUIET_SECONDS:
                printed_at = time.monotonic()
                console.print(f"{operation}: {done} of {total}", highlight=False)

        yield update_progress
