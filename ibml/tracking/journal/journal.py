"""What is to be written to the store, first in files that are only ever appended to: a journal for each trial.

A journal goes once the store has all of it. What is there after a driver has ended was not delivered, or not
altogether; whoever reads it delivers it again from its beginning, which writes nothing twice.
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
_DRIVER = re.compile(r"[0-9a-f]{12}")
"""The name of a driver's folder: its id."""


class JournalFolder:
    """The journals of one driver, whose folder is locked as long as the driver lives.

    `warning` says why entries could not be written down; they are then in memory alone.
    """

    def __init__(self, folder: Path, driver: str):
        self.folder = folder / driver
        self.warning = ""
        self._lock = _build_lock(self.folder, _write_machine)
        self._broken: set[str] = set()

    def __enter__(self) -> Self:
        try:
            while not self._lock.is_locked:
                with suppress(
                    FileNotFoundError
                ):  # another process took the folder for left behind, and removed it
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

    def append(self, key: str, entry: Event) -> None:
        """Write an entry to the journal of a trial. It survives the death of this process; how a trial ended also
        survives that of the machine. After an entry that could not be written none of the trial is, so that a journal
        never says of a trial that it ended without what came before."""
        if key in self._broken:
            return
        try:
            with self.get_path(key).open("a", encoding="utf-8") as journal:
                journal.write(f"{encode_event(entry)}\n")
                if isinstance(entry, TrialEnded):
                    journal.flush()
                    os.fsync(journal.fileno())
        except OSError as error:
            self._broken.add(key)
            self._warn(error)

    def remove(self, key: str) -> None:
        """The store has all of a trial's journal."""
        self._broken.discard(key)
        try:
            self.get_path(key).unlink(missing_ok=True)
        except OSError as error:  # it is delivered again, which changes nothing
            self._warn(error)

    def get_path(self, key: str) -> Path:
        return self.folder / f"{key}.jsonl"

    def _warn(self, error: OSError) -> None:
        self.warning = self.warning or f"nothing can be written to {self.folder}: {error.strerror}"


def _build_lock(folder: Path, on_acquired: Callable[[int], None]) -> FileLock:
    """Return the lock of a driver's folder; `on_acquired` gets the descriptor of the locked file.

    Earlier versions of ibml lock the same file by `flock`, as `filelock` does.
    """
    return FileLock(
        folder / _LOCK, thread_local=False, fallback_to_soft=False, on_acquired=on_acquired
    )


def _write_machine(lock: int) -> None:
    """Write into a locked file on which machine its holder is; other hosts read it."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, get_machine_id().encode(), 0)
    os.fsync(lock)


def _read_machine(machines: list[str], lock: int) -> None:
    machines.append(os.pread(lock, 64, 0).decode(errors="replace"))


def find_abandoned_journals(
    folder: Path, is_alive: Callable[[str], bool]
) -> Iterator[tuple[str, list[Path]]]:
    """Yield the journals of drivers that have ended.

    Args:
        folder: The folder of all drivers' journals. Only folders that are named by a driver's id are looked at.
        is_alive: Returns whether a driver gives signs of life. It is asked where the lock of the driver's folder was
            made on another machine or in another container, since not every file system shares locks with those.

    Yields:
        A driver's id and its journals, the oldest first. Its folder is locked until the next one is asked for, and
        then removed if its journals are gone.
    """
    for of_driver in sorted(path for path in folder.glob("*/") if _DRIVER.fullmatch(path.name)):
        machines: list[str] = []
        try:
            lock = _build_lock(of_driver, partial(_read_machine, machines)).acquire(blocking=False)
        except OSError:
            continue  # its driver lives, another process is delivering, or the folder is another user's
        with lock:
            if machines != [get_machine_id()] and is_alive(of_driver.name):
                continue
            yield (
                of_driver.name,
                sorted(of_driver.glob(_JOURNALS), key=lambda path: path.stat().st_mtime),
            )
            _remove_if_empty(of_driver)


def read_events(journal: Path) -> list[Event]:
    """What a journal has. A last line that a kill has cut off is left out; any other that cannot be read raises
    `ValueError`."""
    *lines, last = journal.read_text(encoding="utf-8", errors="replace").split("\n")
    del last  # empty, or cut off
    return [decode_event(line) for line in lines]


def _remove_if_empty(folder: Path) -> None:
    """An empty folder that stays is no harm: whoever delivers next removes it."""
    with suppress(OSError):
        if not any(folder.glob(_JOURNALS)):
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()
