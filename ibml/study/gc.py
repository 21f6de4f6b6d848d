"""What no run refers to: files of a workspace that nothing will ever go on from."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from stat import S_ISREG

from ibml.common.atomic_files import UNFINISHED, is_unfinished
from ibml.common.errors import IbmlError
from ibml.common.paths import join_escaped
from ibml.common.storage import StoragePath, find_paths
from ibml.common.yaml.documents import parse
from ibml.records import TrialRecord
from ibml.search.pbt_checkpoints import CHECKPOINT_NAME
from ibml.study.engine.prefix_store import is_prefix_file
from ibml.tracking.session import Session
from ibml.tracking.store.uri import TrackingError
from ibml.training.checkpoint_retention import (
    SELECTED,
    is_trial_file,
    list_retained_files,
    list_states,
)

_KEY = re.compile(r"[0-9a-f]{64}")
_YOUNG_SECONDS = 3600.0
"""What was written to so lately may be of a trial whose run is not in the store yet."""


@dataclass(frozen=True)
class Leftover:
    """Files of ibml that can go, and why.

    Attributes:
        path: The file, or the folder that contains the files.
        reason: Why nothing refers to them.
        files: The files to remove. A folder goes with the last file in it; files of other origin stay, and it too.
    """

    path: StoragePath
    reason: str
    files: tuple[StoragePath, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(
            status.st_size for status in _iterate_stats(*self.files) if S_ISREG(status.st_mode)
        )

    def remove(self) -> None:
        """Remove the files, and the folder if nothing else is in it. Raises `IbmlError`."""
        try:
            for file in self.files:
                file.unlink(missing_ok=True)
            if self.path not in self.files:
                _remove_empty(self.path)
        except FileNotFoundError:
            return  # a driver was faster
        except OSError as error:
            raise IbmlError(f"{self.path} cannot be removed: {error.strerror}") from None


def find_leftovers(session: Session) -> list[Leftover]:
    """The leftovers of a store's workspace. Raises `TrackingError`, and `OSError` where files cannot be read."""
    workspace, records = session.workspace, session.store.results()
    others = session.heartbeat.list_peers()
    searched = {
        join_escaped(workspace.populations, name.partition("/")[0])
        for name in session.store.names("search")
    }
    found: list[Leftover] = []
    for folder in find_paths(workspace.trials, "*/"):
        if _KEY.fullmatch(folder.name):
            record = records.get(folder.name)
            if record is None:
                found += _find_folder_leftovers(
                    folder, is_trial_file, "no run of the store is of this trial"
                )
            elif record.driver not in others:
                found += _find_trial_leftovers(folder, record, session)
    for folder in find_paths(workspace.populations, "*/"):
        if folder not in searched:
            found += _find_folder_leftovers(
                folder, _is_population_state, "no run of the store is of this search"
            )
    stages = [] if others else find_paths(workspace.prefix_folder, "*")
    return found + [
        Leftover(path, "a state that trials shared; none is running", (path,))
        for path in stages
        if is_prefix_file(path.name) or is_unfinished(path.name)
    ]


def _find_folder_leftovers(
    folder: StoragePath, is_ours: Callable[[str], bool], reason: str
) -> list[Leftover]:
    """A folder that nothing refers to, with those files in it that ibml wrote; none while it is young."""
    if _is_young(folder):
        return []
    paths: list[StoragePath] = [*folder.rglob("*")]
    files = tuple(path for path in paths if is_ours(path.name) or is_unfinished(path.name))
    return [Leftover(folder, reason, files)] if files or not paths else []


def _is_population_state(name: str) -> bool:
    return CHECKPOINT_NAME.fullmatch(name) is not None


def _remove_empty(folder: StoragePath) -> None:
    """Remove a folder and the folders in it as far as they are empty."""
    for path in [path for path in folder.glob("*/") if path.is_dir()]:
        _remove_empty(path)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _find_trial_leftovers(
    folder: StoragePath, record: TrialRecord, session: Session
) -> Iterator[Leftover]:
    if record.ended or record.status == "pruned":
        stay = {SELECTED} if record.status == "finished" else set()
        if record.status == "finished" and list_states(folder):
            stay = list_retained_files(folder, _read_keep(record.run_id, session))
        for path in find_paths(folder, "*"):
            if path.name not in stay and (is_trial_file(path.name) or is_unfinished(path.name)):
                yield Leftover(path, "its trial has ended", (path,))
    else:
        for path in find_paths(folder, f"*{UNFINISHED}"):
            if is_unfinished(path.name):
                yield Leftover(path, "it was cut off while it was written", (path,))


def _read_keep(run_id: str, session: Session) -> str:
    """What the trial's configuration says; all, where that cannot be read."""
    try:
        return str(parse(session.store.read_trial_config(run_id), run_id).data["trainer"]["keep"])
    except (TrackingError, ValueError, KeyError, TypeError):
        return "all"


def _is_young(folder: StoragePath) -> bool:
    newest = max(
        (status.st_mtime for status in _iterate_stats(folder, *folder.glob("*"))), default=0.0
    )
    return time.time() - newest < _YOUNG_SECONDS


def _iterate_stats(*paths: StoragePath) -> Iterator[os.stat_result]:
    """Of those that are still there: drivers write and remove files meanwhile."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path.stat()
