"""Garbage collection: files of a workspace that no run will use again."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
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
"""Minimum age of leftovers: a younger folder may belong to a run that is not in the store yet."""


@dataclass(frozen=True)
class Leftover:
    """Files of ibml that can be removed.

    Attributes:
        path: The file, or the folder that contains the files.
        reason: Reason why no run needs them.
        files: The files to remove. A folder is removed too if it contains no other files.
    """

    path: StoragePath
    reason: str
    files: tuple[StoragePath, ...]

    @property
    def size(self) -> int:
        """Size in bytes."""
        statuses = _iterate_stats(*self.files)
        return sum(status.st_size for status in statuses if S_ISREG(status.st_mode))

    def remove(self) -> None:
        """Remove the files, and the folder if it is empty then.

        Raises:
            IbmlError: If a file cannot be removed.
        """
        try:
            for file in self.files:
                file.unlink(missing_ok=True)
            if self.path not in self.files:
                _remove_empty(self.path)
        except FileNotFoundError:
            return  # a driver removed it first
        except OSError as error:
            raise IbmlError(f"{self.path} cannot be removed: {error.strerror}") from None


def find_leftovers(session: Session) -> list[Leftover]:
    """Find the leftovers in a store's workspace.

    Files that other drivers may use are not included.

    Args:
        session: A session on the store.

    Returns:
        Leftovers of trials, then of searches, then of the prefix cache.

    Raises:
        TrackingError: If the store is not available.
        OSError: If the workspace cannot be read.
    """
    # Records before peers: a driver that starts in between must not lose the files of its trials.
    records = session.store.results()
    peers = session.heartbeat.list_peers()
    leftovers = [
        *_find_trial_folder_leftovers(session, records, peers),
        *_find_population_leftovers(session),
    ]
    if not peers:
        leftovers += _find_prefix_leftovers(session)
    return leftovers


def _find_trial_folder_leftovers(
    session: Session, records: Mapping[str, TrialRecord], peers: Collection[str | None]
) -> Iterator[Leftover]:
    """Yield the leftovers in folders of trials that no other driver is training."""
    for folder in find_paths(session.workspace.trials, "*/"):
        if not _KEY.fullmatch(folder.name):
            continue
        record = records.get(folder.name)
        if record is None:
            reason = "the store has no run of this trial"
            yield from _find_folder_leftovers(folder, is_trial_file, reason)
        elif record.driver not in peers:
            yield from _find_trial_leftovers(folder, record, session)


def _find_population_leftovers(session: Session) -> Iterator[Leftover]:
    """Yield the checkpoints of populations whose search is not in the store."""
    populations = session.workspace.populations
    searches = [name.partition("/")[0] for name in session.store.names("search")]
    known_folders = {join_escaped(populations, name) for name in searches}
    for folder in find_paths(populations, "*/"):
        if folder not in known_folders:
            reason = "the store has no run of this search"
            yield from _find_folder_leftovers(folder, _is_population_state, reason)


def _find_prefix_leftovers(session: Session) -> Iterator[Leftover]:
    """Yield the files of the prefix cache."""
    for path in find_paths(session.workspace.prefix_folder, "*"):
        if is_prefix_file(path.name) or is_unfinished(path.name):
            yield Leftover(path, "a shared training prefix, and no driver is running", (path,))


def _find_folder_leftovers(
    folder: StoragePath, is_ours: Callable[[str], bool], reason: str
) -> list[Leftover]:
    """Return a folder that no run uses, with the files that ibml wrote; empty while it is young."""
    if _is_young(folder):
        return []
    paths: list[StoragePath] = [*folder.rglob("*")]
    files = tuple(path for path in paths if is_ours(path.name) or is_unfinished(path.name))
    if paths and not files:
        return []  # only files of other programs
    return [Leftover(folder, reason, files)]


def _is_population_state(name: str) -> bool:
    return CHECKPOINT_NAME.fullmatch(name) is not None


def _remove_empty(folder: StoragePath) -> None:
    """Remove a folder and its subfolders if they are empty."""
    subfolders = [path for path in folder.glob("*/") if path.is_dir()]
    for path in subfolders:
        _remove_empty(path)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _find_trial_leftovers(
    folder: StoragePath, record: TrialRecord, session: Session
) -> Iterator[Leftover]:
    """Yield the files of a trial that it will not use again."""
    if not record.ended and record.status != "pruned":
        for path in find_paths(folder, f"*{UNFINISHED}"):
            if is_unfinished(path.name):
                yield Leftover(path, "writing it was interrupted", (path,))
        return
    retained = {SELECTED} if record.status == "finished" else set()
    if record.status == "finished" and list_states(folder):
        retained = list_retained_files(folder, _read_keep(record.run_id, session))
    for path in find_paths(folder, "*"):
        if path.name not in retained and (is_trial_file(path.name) or is_unfinished(path.name)):
            yield Leftover(path, "its trial has ended", (path,))


def _read_keep(run_id: str, session: Session) -> str:
    """Return `trainer.keep` of a trial's configuration; "all" if it cannot be read."""
    try:
        return str(parse(session.store.read_trial_config(run_id), run_id).data["trainer"]["keep"])
    except (TrackingError, ValueError, KeyError, TypeError):
        return "all"


def _is_young(folder: StoragePath) -> bool:
    times = [status.st_mtime for status in _iterate_stats(folder, *folder.glob("*"))]
    return time.time() - max(times, default=0.0) < _YOUNG_SECONDS


def _iterate_stats(*paths: StoragePath) -> Iterator[os.stat_result]:
    """Yield the status of each path; paths that a driver has removed are skipped."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path.stat()
