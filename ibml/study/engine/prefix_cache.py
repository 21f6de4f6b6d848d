"""States that trials share: the first that comes to one leaves it on disk, and the others go on from there.

Every trial's epochs are a path in a tree whose branches are where schedules begin to differ. Each edge of it is trained
once: a trial goes on from the deepest state of its path that is there, and waits only for one that a running trial is
about to leave. So nothing waits for what waits itself, and what a trial that ends does not leave is not waited for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from ibml.common.storage import StoragePath
from ibml.common.version import get_code_revision
from ibml.config.methods.base import WindowedMethodConfig
from ibml.study.engine.prefix_store import PrefixStore
from ibml.study.planning.keys import compute_prefix_keys

if TYPE_CHECKING:
    from ibml.search.search import Search
    from ibml.study.engine.tasks import TrialTask

ALTERNATIVES = 3
"""How many states a worker gets to go on from, for where the deepest is gone when it looks."""
_PATIENCE = 4
"""Proposals without a state in common after which a search is taken to have none."""


@dataclass
class _Path:
    names: list[bytes]
    """Of the state after each epoch."""
    tasks: int = 0
    begun: bool = False


@dataclass
class _Proposals:
    first: dict[bytes, int] = field(default_factory=dict)
    """By the state after the first epoch, the proposal that came to it first."""
    seen: set[int] = field(default_factory=set)
    shared: bool = False


class PrefixCache:
    """Which trials go on from where, and what they leave. Without files nothing is shared.

    `register` a task when it is planned, `unregister` it when it needs no training any more: which checkpoints are
    saved, and which stay if there is little room, depends on the tasks that are still to come.
    """

    def __init__(self, files: PrefixStore | None = None):
        self.files = files
        self._paths: dict[str, _Path] = {}
        self._to_come: Counter[bytes] = (
            Counter()
        )  # how many keys that were not begun come to a state
        self._leaves: dict[TrialTask, list[int]] = {}
        self._proposals: dict[Search, _Proposals] = {}

    def register(self, task: TrialTask) -> None:
        """A task may be trained. Parts of populations share nothing, since their values change."""
        if self.files is None or task.interval is not None:
            return
        path = self._paths.get(task.spec.key)
        if path is None:
            names = compute_prefix_keys(
                task.spec.config, task.spec.fingerprint, get_code_revision()
            )
            path = self._paths[task.spec.key] = _Path(names)
            self._to_come.update(names)
        path.tasks += 1
        if task.source and task.trial_run:
            self._record_proposal(task.source.search, task.trial_run.number, path.names[0])

    def unregister(self, task: TrialTask) -> None:
        """A task has ended, or its result is known."""
        self._leaves.pop(task, None)
        path = self._paths.get(task.spec.key)
        if path is None:
            return
        path.tasks -= 1
        if path.tasks == 0:
            del self._paths[task.spec.key]
            self._mark_begun(path)

    def _mark_begun(self, path: _Path) -> None:
        if path.begun:
            return
        path.begun = True
        for name in path.names:
            self._to_come[name] -= 1
            if not self._to_come[name]:
                del self._to_come[name]

    def find_pending_producer(
        self, task: TrialTask, running: Iterable[TrialTask]
    ) -> TrialTask | None:
        """The running task that will leave a state of this one's path that is deeper than those that are there."""
        path = self._paths.get(task.spec.key)
        if path is None:
            return None
        deepest, leader = next(self._find_available(path), 0), None
        for other in running:
            for epoch in self._leaves.get(other, ()):
                theirs = self._paths[other.spec.key].names
                common = epoch <= len(path.names) and theirs[epoch - 1] == path.names[epoch - 1]
                if common and epoch > max(deepest, other.trained_epochs):
                    deepest, leader = epoch, other
        return leader

    def start(
        self, task: TrialTask
    ) -> tuple[list[tuple[int, StoragePath]], dict[int, StoragePath]]:
        """Where a task goes on from, the deepest first, and what it leaves: after how many epochs, and the files.

        A state is left where tasks to come part from this one, and for proposals to come where the method sets in or
        ends."""
        path = self._paths.get(task.spec.key)
        if path is None or self.files is None:
            return [], {}
        names, files = path.names, self.files
        self._mark_begun(path)
        found = [
            (epoch, files.path(epoch, names[epoch - 1]))
            for epoch in islice(self._find_available(path), ALTERNATIVES)
        ]
        for _, file in found[:1]:
            files.used(file)
        others = [self._to_come[name] for name in names] + [0]
        epochs = {epoch for epoch in range(1, len(names) + 1) if others[epoch - 1] > others[epoch]}
        if task.source and not self._is_sharing_unlikely(task.source.search):
            epochs |= {epoch for epoch in _find_window_epochs(task) if epoch < len(names)}
        self._leaves[task] = sorted(epoch for epoch in epochs if not files.has(names[epoch - 1]))
        return found, {epoch: files.path(epoch, names[epoch - 1]) for epoch in self._leaves[task]}

    def record_saved(self, task: TrialTask, epoch: int, size: int) -> None:
        """A task has left its state after so many epochs, of so many bytes. What is over the limit goes."""
        path = self._paths.get(task.spec.key)
        if path is not None and self.files is not None:
            self.files.add(epoch, path.names[epoch - 1], size)
            self.files.trim(self._to_come)

    def _find_available(self, path: _Path) -> Iterator[int]:
        """After how many epochs states of a path are there, the most first."""
        assert self.files is not None
        return (
            epoch
            for epoch in range(len(path.names), 0, -1)
            if self.files.has(path.names[epoch - 1])
        )

    def _record_proposal(self, search: Search, number: int, first: bytes) -> None:
        """Take note of whether a search's proposals have anything in common."""
        seen = self._proposals.setdefault(search, _Proposals())
        seen.seen.add(number)
        seen.shared |= seen.first.setdefault(first, number) != number

    def _is_sharing_unlikely(self, search: Search) -> bool:
        """Whether a search's proposals differ from the first epoch on, as where it searches the learning rate."""
        seen = self._proposals[search]
        return not seen.shared and len(seen.seen) >= _PATIENCE


def _find_window_epochs(task: TrialTask) -> list[int]:
    """The epochs, but the first, with which a trial's method sets in or ends."""
    method, epochs = task.spec.config.effective_method, task.spec.config.trainer.epochs
    return (
        [epoch for epoch in method.window.epochs(epochs) if epoch]
        if isinstance(method, WindowedMethodConfig)
        else []
    )


def open_prefix_cache(folder: StoragePath, gigabytes: float, anew: bool = False) -> PrefixCache:
    """Stages in a folder with so much room, or `anew` without those that are there; without room nothing is shared."""
    if anew:
        PrefixStore(folder, 0).trim({})
    return PrefixCache(PrefixStore(folder, 1e9 * gigabytes) if gigabytes > 0 else None)
