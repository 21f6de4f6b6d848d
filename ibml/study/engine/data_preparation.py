"""Data sets are looked at and decoded before the first trial, where a person can see it."""

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
"""How often something is said where there is no terminal."""


def prepare_data(configs: Iterable[DataConfig], console: Console) -> None:
    """Check the data sets and decode what was not decoded before; raises `DataError`."""

    def say(text: str) -> None:
        _log.warning("%s", strip_control_characters(text))
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    with show_data_progress(console) as progress:
        data.prepare_datasets(configs, say, progress)


@contextmanager
def show_data_progress(console: Console) -> Iterator[ProgressCallback]:
    """Bars on a terminal, one for each thing that is done; a line now and then elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    said = time.monotonic()
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            nonlocal said
            raise_if_stop_requested()
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)
            if not console.is_terminal and time.monotonic() - said > QUIET_SECONDS:
                said = time.monotonic()
                console.print(f"{what}: {done} of {total}", highlight=False)

        yield progress
