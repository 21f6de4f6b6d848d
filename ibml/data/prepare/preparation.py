"""Conversion of a distribution into a layout, by tasks that run in parallel.

The output of a task is complete or does not exist, so an interrupted command can be repeated.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ibml.common.atomic_files import remove_unfinished, replace_atomically
from ibml.common.errors import ConfigError, IbmlError, Problem, SourceLocation


def _exists(path: Path) -> bool:
    if path.is_dir():
        return any(path.iterdir())
    return path.is_file() and path.stat().st_size > 0


@dataclass(frozen=True)
class PreparationTask:
    """Task that creates one file or folder.

    Attributes:
        sample: Name of the sample, as messages show it.
        target: Path of the result.
        make: Creates the result at a temporary path that it is called with.
        is_whole: Returns True if the result at a path is complete.
    """

    sample: str
    target: Path
    make: Callable[[Path], object]
    is_whole: Callable[[Path], bool] = _exists


def build_copy_task(sample: str, source: Path, target: Path) -> PreparationTask:
    """Build the task that copies a file.

    Args:
        sample: Name of the sample.
        source: File of the distribution.
        target: Path of the copy.

    Returns:
        A task whose result is complete if it has the size of the source.
    """

    def is_whole(path: Path) -> bool:
        return path.is_file() and path.stat().st_size == source.stat().st_size

    return PreparationTask(sample, target, lambda place: shutil.copyfile(source, place), is_whole)


class Preparation:
    """Conversion of one distribution.

    Args:
        raw: Folder of the distribution, which is only read.
        root: Folder of the result.
        console: Console for progress and messages.

    Attributes:
        failed: Samples that could not be prepared -> first reason.
        created: Number of files and folders created by tasks.
        reused: Number of results that were already complete.

    Raises:
        IbmlError: `raw` is not a folder.
        ConfigError: One of the folders contains the other.
    """

    def __init__(self, raw: Path, root: Path, console: Console):
        self.raw = raw
        self.root = root
        self.console = console
        self.failed: dict[str, str] = {}
        self.created = 0
        self.reused = 0
        self._check_places()

    def report(self, text: str) -> None:
        """Print a message for the user."""
        self.console.print(text, soft_wrap=True)

    def make(self, tasks: Sequence[PreparationTask]) -> None:
        """Run the tasks whose results are not complete; one that fails does not stop the others."""
        self._remove_leftovers({task.target.parent for task in tasks})
        with _build_progress_bar(self.console) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            futures = [pool.submit(_run_task, task) for task in tasks]
            try:
                for task, future in bar.track(zip(tasks, futures, strict=True), len(tasks)):
                    self._count(task, future)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def write_files(self, files: dict[str, bytes]) -> None:
        """Write small files into the root.

        Args:
            files: Content by path below the root.

        Raises:
            IbmlError: A file exists with other content, which is not overwritten.
        """
        for name, content in files.items():
            place = self.root / name
            if place.exists() and place.read_bytes() != content:
                raise IbmlError(
                    f"{place} exists with other content; move it away to create it from {self.raw}"
                )
        self._remove_leftovers({(self.root / name).parent for name in files})
        for name, content in files.items():
            if not (self.root / name).exists():
                with replace_atomically(self.root / name) as place:
                    place.write_bytes(content)

    def fail(self, sample: str, reason: str) -> None:
        """Record that a sample cannot be prepared."""
        self.failed.setdefault(sample, reason)

    def _count(self, task: PreparationTask, future: Future[bool]) -> None:
        try:
            created = future.result()
        except (OSError, ValueError, MemoryError) as error:
            self.fail(task.sample, _format_reason(error))
            return
        if created:
            self.created += 1
        else:
            self.reused += 1

    def _check_places(self) -> None:
        if not self.raw.is_dir():
            raise IbmlError(f"{self.raw} is not a folder with a raw distribution")
        raw = self.raw.resolve()
        root = self.root.resolve()
        if raw.is_relative_to(root) or root.is_relative_to(raw):
            message = f"{self.root} and {self.raw} overlap; choose a folder outside the other one"
            raise ConfigError([Problem(SourceLocation("--root"), message)])

    def _remove_leftovers(self, folders: set[Path]) -> None:
        """Remove unfinished files of killed commands, but never in the distribution.

        A link in the root may lead into the distribution, which is only read.
        """
        raw = self.raw.resolve()
        for folder in sorted(folders):
            if folder.resolve().is_relative_to(raw):
                raise IbmlError(f"{folder} leads into {self.raw}, which is only read")
            remove_unfinished(folder)


def format_jsonl(rows: Iterable[dict[str, Any]]) -> bytes:
    """Format rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _run_task(task: PreparationTask) -> bool:
    """Run a task unless its result is complete; return True if it was run."""
    if task.is_whole(task.target):
        return False
    try:
        with replace_atomically(task.target) as place:
            task.make(place)
    except OSError:
        # Another command may have finished first; a folder cannot replace a folder.
        if task.is_whole(task.target):
            return False
        raise
    return True


def _format_reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is missing"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _build_progress_bar(console: Console) -> Progress:
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("left"),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
