"""Write-ahead journals on disk: one append-only file per trial.

A journal is deleted once the store has all its events. If a driver ends before that, another driver
or `ibml sync` replays the journal from its beginning. Replaying an event twice does not store it
twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock

from ibml.common.processes.ownership import get_machine_id
from ibml.tracking.journal.events import Event, TrialEnded, decode_event, encode_event

_LOCK = "lock"
_JOURNALS = "*.jsonl"
_DRIVER_ID = re.compile(r"[0-9a-f]{12}")
"""Name of a driver's folder: its id."""


class JournalFolder:
    """Journals of one driver. Their folder is locked while the driver runs.

    Args:
        folder: Folder with one subfolder per driver.
        driver: Id of the driver.

    Attributes:
        folder: The driver's subfolder.
        warning: Reason why events could not be written to disk, or empty. Such events exist in
            memory only.
    """

    def __init__(self, folder: Path, driver: str):
        self.folder = folder / driver
        self.warning = ""
        self._lock = _build_lock(self.folder, _write_machine)
        self._broken: set[str] = set()

    def __enter__(self) -> Self:
        try:
            while not self._lock.is_locked:
                # FileNotFoundError: another process took the folder for abandoned and removed it.
                with suppress(FileNotFoundError):
                    self._lock.acquire()
        except OSError as error:
            self._warn(error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock.is_locked:
            _remove_if_empty(self.folder)
            self._lock.release()

    def append(self, key: str, event: Event) -> None:
        """Append an event to the journal of a trial.

        The event survives a crash of this process; a `TrialEnded` also survives a crash of the
        machine. If an event cannot be written, later events of the trial are not written either. A
        journal therefore never contains the end of a trial without its earlier events.

        Args:
            key: Key of the trial.
            event: Event to append.
        """
        if key in self._broken:
            return
        try:
            with self.get_path(key).open("a", encoding="utf-8") as journal:
                journal.write(f"{encode_event(event)}\n")
                if isinstance(event, TrialEnded):
                    journal.flush()
                    os.fsync(journal.fileno())
        except OSError as error:
            self._broken.add(key)
            self._warn(error)

    def remove(self, key: str) -> None:
        """Delete the journal of a trial whose events are all in the store."""
        self._broken.discard(key)
        try:
            self.get_path(key).unlink(missing_ok=True)
        except OSError as error:  # the journal will be replayed again, which changes nothing
            self._warn(error)

    def get_path(self, key: str) -> Path:
        """Return the path of a trial's journal."""
        return self.folder / f"{key}.jsonl"

    def _warn(self, error: OSError) -> None:
        self.warning = self.warning or f"{self.folder} cannot be written: {error.strerror}"


def _build_lock(folder: Path, on_acquired: Callable[[int], None]) -> FileLock:
    """Return the lock of a driver's folder.

    Earlier versions of ibml lock the same file by `flock`, as `filelock` does.

    Args:
        folder: The driver's folder.
        on_acquired: Called with the descriptor of the locked file.

    Returns:
        The lock, not acquired.
    """
    return FileLock(
        folder / _LOCK, thread_local=False, fallback_to_soft=False, on_acquired=on_acquired
    )


def _write_machine(descriptor: int) -> None:
    """Write this machine's identity into a locked file, for drivers on other hosts."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, get_machine_id().encode(), 0)
    os.fsync(descriptor)


def _read_machine(machines: list[str], descriptor: int) -> None:
    machines.append(os.pread(descriptor, 64, 0).decode(errors="replace"))


def find_abandoned_journals(
    folder: Path, is_alive: Callable[[str], bool]
) -> Iterator[tuple[str, list[Path]]]:
    """Yield the journals of drivers that have ended.

    Args:
        folder: Folder with one subfolder per driver. Subfolders not named by a driver's id are
            ignored.
        is_alive: Returns whether a driver has a heartbeat. Called if the driver's folder was locked
            on another machine or in another container, because file systems may not share locks
            with those.

    Yields:
        A driver's id and its journals, oldest first. The driver's folder stays locked until the
        next iteration, and is then removed if it has no journals left.
    """
    driver_folders = sorted(path for path in folder.glob("*/") if _DRIVER_ID.fullmatch(path.name))
    for driver_folder in driver_folders:
        machines: list[str] = []
        lock = _build_lock(driver_folder, partial(_read_machine, machines))
        try:
            acquired = lock.acquire(blocking=False)
        except OSError:
            # The driver runs, another process replays its journals, or another user owns the
            # folder.
            continue
        with acquired:
            if machines != [get_machine_id()] and is_alive(driver_folder.name):
                continue
            journals = driver_folder.glob(_JOURNALS)
            yield driver_folder.name, sorted(journals, key=lambda path: path.stat().st_mtime)
            _remove_if_empty(driver_folder)


def read_events(journal: Path) -> list[Event]:
    """Return the events of a journal. A last line that was truncated by a crash is ignored.

    Args:
        journal: Path of the journal.

    Returns:
        The events in the order of writing.

    Raises:
        OSError: The file cannot be read.
        ValueError: Another line than the last one cannot be decoded.
    """
    text = journal.read_text(encoding="utf-8", errors="replace")
    complete_lines = text.split("\n")[:-1]
    return [decode_event(line) for line in complete_lines]


def _remove_if_empty(folder: Path) -> None:
    """Remove a driver's folder if it has no journals; after an error, the next driver does."""
    with suppress(OSError):
        if not any(folder.glob(_JOURNALS)):
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()
