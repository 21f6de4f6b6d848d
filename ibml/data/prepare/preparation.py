"""How a data set is put into its layout: pieces, made beside each other, each whole or not there."""

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
    return any(path.iterdir()) if path.is_dir() else path.is_file() and path.stat().st_size > 0


@dataclass(frozen=True)
class PreparationTask:
    """A file or folder that `make` makes under a name of its own choice, for a sample as its user knows it."""

    sample: str
    target: Path
    make: Callable[[Path], object]
    is_whole: Callable[[Path], bool] = _exists


def build_copy_task(sample: str, source: Path, target: Path) -> PreparationTask:
    """A file that is taken as it is."""

    def is_whole(path: Path) -> bool:
        return path.is_file() and path.stat().st_size == source.stat().st_size

    return PreparationTask(sample, target, lambda place: shutil.copyfile(source, place), is_whole)


class Preparation:
    """A preparation: from `raw`, which is only read, to `root`."""

    def __init__(self, raw: Path, root: Path, console: Console):
        self.raw, self.root, self.console = raw, root, console
        self.failed: dict[str, str] = {}
        """Samples that could not be prepared, and the first reason of each."""
        self.created = self.reused = 0
        self._check_places()

    def report(self, text: str) -> None:
        """Tell what was decided on the way."""
        self.console.print(text, soft_wrap=True)

    def make(self, pieces: Sequence[PreparationTask]) -> None:
        """Make what is not there yet. A piece that cannot be made does not keep the others from it."""
        self._clear({piece.target.parent for piece in pieces})
        with _build_progress_bar(self.console) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            futures = [pool.submit(_make, piece) for piece in pieces]
            try:
                for piece, future in bar.track(zip(pieces, futures, strict=True), len(pieces)):
                    self._take(piece, future)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def write_files(self, files: dict[str, bytes]) -> None:
        """Write small files into the root. One with another content is not ibml's to replace."""
        for name, content in files.items():
            place = self.root / name
            if place.exists() and place.read_bytes() != content:
                raise IbmlError(
                    f"{place} is there with another content; move it away to have it made from {self.raw}"
                )
        self._clear({(self.root / name).parent for name in files})
        for name, content in files.items():
            if not (self.root / name).exists():
                with replace_atomically(self.root / name) as place:
                    place.write_bytes(content)

    def fail(self, sample: str, reason: str) -> None:
        """Note that a sample cannot be prepared."""
        self.failed.setdefault(sample, reason)

    def _take(self, piece: PreparationTask, future: Future[bool]) -> None:
        try:
            made = future.result()
        except (OSError, ValueError, MemoryError) as error:
            self.fail(piece.sample, _format_reason(error))
        else:
            self.created += made
            self.reused += not made

    def _check_places(self) -> None:
        if not self.raw.is_dir():
            raise IbmlError(f"{self.raw} is no folder with a raw distribution")
        raw, root = self.raw.resolve(), self.root.resolve()
        if raw.is_relative_to(root) or root.is_relative_to(raw):
            message = (
                f"{self.root} and {self.raw}, which is only read, must not lie within each other"
            )
            raise ConfigError([Problem(SourceLocation("--root"), message)])

    def _clear(self, folders: set[Path]) -> None:
        """Of what a killed command left. A link among the folders may lead back to what is only read."""
        raw = self.raw.resolve()
        for folder in sorted(folders):
            if folder.resolve().is_relative_to(raw):
                raise IbmlError(f"{folder} leads into {self.raw}, which is only read")
            remove_unfinished(folder)


def format_jsonl(rows: Iterable[dict[str, Any]]) -> bytes:
    """A JSON object per line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _make(piece: PreparationTask) -> bool:
    """Whether anything had to be done."""
    if piece.is_whole(piece.target):
        return False
    try:
        with replace_atomically(piece.target) as place:
            piece.make(place)
    except OSError:
        if piece.is_whole(
            piece.target
        ):  # by another command meanwhile; a folder does not take a folder's place
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
