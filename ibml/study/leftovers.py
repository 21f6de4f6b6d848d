"""What no run refers to: files of a workspace that nothing will ever go on from."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from stat import S_ISREG

from ibml.config.base import IbmlError
from ibml.config.load import parse
from ibml.config.places import below
from ibml.config.records import TrialRecord
from ibml.files import UNFINISHED
from ibml.storage import Place, matching, remove_tree
from ibml.tracking.session import Session
from ibml.tracking.uri import TrackingError
from ibml.training.kept import SELECTED, states, staying

_KEY = re.compile(r"[0-9a-f]{64}")
_YOUNG_SECONDS = 3600.0
"""What was written to so lately may be of a trial whose run is not in the store yet."""


@dataclass(frozen=True)
class Leftover:
    """A file or folder that can go, and why."""

    path: Place
    reason: str

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(status.st_size for status in _statuses(self.path, *self.path.rglob("*")) if S_ISREG(status.st_mode))

    def remove(self) -> None:
        """Raises `IbmlError`."""
        try:
            if self.path.is_dir():
                remove_tree(self.path)
            else:
                self.path.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # a driver was faster
        except OSError as error:
            raise IbmlError(f"{self.path} cannot be removed: {error.strerror}") from None


def leftovers(session: Session) -> list[Leftover]:
    """The leftovers of a store's workspace. Raises `TrackingError`, and `OSError` where files cannot be read."""
    workspace, records = session.workspace, session.store.results()
    others = session.presence.others()
    searched = {below(workspace.populations, name.partition("/")[0]) for name in session.store.names("search")}
    found: list[Leftover] = []
    for folder in matching(workspace.trials, "*/"):
        if _KEY.fullmatch(folder.name):
            record = records.get(folder.name)
            if record is None:
                found += [] if _is_young(folder) else [Leftover(folder, "no run of the store is of this trial")]
            elif record.driver not in others:
                found += _of_trial(folder, record, session)
    for folder in matching(workspace.populations, "*/"):
        if folder not in searched and not _is_young(folder):
            found.append(Leftover(folder, "no run of the store is of this search"))
    stages = [] if others else matching(workspace.stages, "*")
    return found + [Leftover(path, "a state that trials shared; none is running") for path in stages]


def _of_trial(folder: Place, record: TrialRecord, session: Session) -> Iterator[Leftover]:
    if record.ended or record.status == "pruned":
        stay = {SELECTED} if record.status == "finished" else set()
        if record.status == "finished" and states(folder):
            stay = staying(folder, _keep(record.run_id, session))
        for path in matching(folder, "*"):
            if path.name not in stay:
                yield Leftover(path, "its trial has ended")
    else:
        for path in matching(folder, f"*{UNFINISHED}"):
            yield Leftover(path, "it was cut off while it was written")


def _keep(run_id: str, session: Session) -> str:
    """What the trial's configuration says; all, where that cannot be read."""
    try:
        return str(parse(session.store.trial_config(run_id), run_id).data["trainer"]["keep"])
    except (TrackingError, ValueError, KeyError, TypeError):
        return "all"


def _is_young(folder: Place) -> bool:
    newest = max((status.st_mtime for status in _statuses(folder, *folder.glob("*"))), default=0.0)
    return time.time() - newest < _YOUNG_SECONDS


def _statuses(*paths: Place) -> Iterator[os.stat_result]:
    """Of those that are still there: drivers write and remove files meanwhile."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path.stat()
