"""Prefix sharing: trials with equal first epochs train them once and share a checkpoint.

The epochs of all trials form a tree that branches where their schedules begin to differ. Every edge
of the tree is trained once. A trial starts from the deepest available checkpoint on its path. It
waits only for a checkpoint that a running trial is about to save, so waiting trials never wait for
each other. If the running trial ends without the checkpoint, nothing waits for it any more.
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
"""Number of candidate checkpoints for a worker, since the deepest may be removed before use."""
_PATIENCE = 4
"""Number of proposals without a common prefix after which a search is taken to share none."""


@dataclass
class _TrialPath:
    """The path of a trial's epochs through the tree, shared by all tasks with the same key."""

    prefix_keys: list[bytes]
    """Key of the state after each epoch."""
    tasks: int = 0
    is_started: bool = False


@dataclass
class _SearchPrefixes:
    """First epochs of a search's proposals."""

    first_proposals: dict[bytes, int] = field(default_factory=dict)
    """Key of the state after the first epoch -> number of the first proposal with it."""
    proposals: set[int] = field(default_factory=set)
    has_common: bool = False
    """True if two proposals have the same first epoch."""


class PrefixCache:
    """Decides from which checkpoints trials start, and which checkpoints they save for others.

    Call `register` for every planned task, and `unregister` when it needs no more training. The
    registered tasks determine which checkpoints are saved, and which are kept if space is short.

    Args:
        files: The store of checkpoints; None disables prefix sharing.
    """

    def __init__(self, files: PrefixStore | None = None):
        self.files = files
        self._paths: dict[str, _TrialPath] = {}
        self._pending_counts: Counter[bytes] = Counter()
        """Prefix key -> number of trials with this prefix that have not started."""
        self._epochs_to_save: dict[TrialTask, list[int]] = {}
        self._searches: dict[Search, _SearchPrefixes] = {}

    def register(self, task: TrialTask) -> None:
        """Register a task that may be trained.

        Intervals of populations are ignored, since their values change during training.

        Args:
            task: The task.
        """
        if self.files is None or task.interval is not None:
            return
        path = self._paths.get(task.spec.key)
        if path is None:
            revision = get_code_revision()
            keys = compute_prefix_keys(task.spec.config, task.spec.fingerprint, revision)
            path = self._paths[task.spec.key] = _TrialPath(keys)
            self._pending_counts.update(keys)
        path.tasks += 1
        if task.source and task.trial_run:
            first_key = path.prefix_keys[0]
            self._record_proposal(task.source.search, task.trial_run.number, first_key)

    def unregister(self, task: TrialTask) -> None:
        """Unregister a task that has ended or whose result is known."""
        self._epochs_to_save.pop(task, None)
        path = self._paths.get(task.spec.key)
        if path is None:
            return
        path.tasks -= 1
        if path.tasks == 0:
            del self._paths[task.spec.key]
            self._mark_started(path)

    def _mark_started(self, path: _TrialPath) -> None:
        if path.is_started:
            return
        path.is_started = True
        for key in path.prefix_keys:
            self._pending_counts[key] -= 1
            if not self._pending_counts[key]:
                del self._pending_counts[key]

    def find_pending_producer(
        self, task: TrialTask, running: Iterable[TrialTask]
    ) -> TrialTask | None:
        """Find the running task that will save the deepest checkpoint for a task.

        Args:
            task: The task that waits.
            running: Running tasks.

        Returns:
            The producer; None if no running task will save a checkpoint that is deeper than the
            available ones.
        """
        path = self._paths.get(task.spec.key)
        if path is None:
            return None
        deepest, producer = next(self._find_available(path), 0), None
        for other in running:
            for epoch in self._epochs_to_save.get(other, ()):
                other_keys = self._paths[other.spec.key].prefix_keys
                is_reached = epoch <= len(path.prefix_keys)
                is_common = is_reached and other_keys[epoch - 1] == path.prefix_keys[epoch - 1]
                if is_common and epoch > max(deepest, other.trained_epochs):
                    deepest, producer = epoch, other
        return producer

    def start(
        self, task: TrialTask
    ) -> tuple[list[tuple[int, StoragePath]], dict[int, StoragePath]]:
        """Choose the checkpoints that a task starts from and saves.

        A checkpoint is saved where the paths of pending tasks branch off. For a search it is also
        saved where the method's window starts or stops, since later proposals may branch there.

        Args:
            task: The task, which is about to be trained.

        Returns:
            Candidates to start from as (number of epochs, file), the deepest first; and files to
            save by number of epochs.
        """
        path = self._paths.get(task.spec.key)
        if path is None or self.files is None:
            return [], {}
        keys, files = path.prefix_keys, self.files
        self._mark_started(path)
        candidates = []
        for epoch in islice(self._find_available(path), ALTERNATIVES):
            candidates.append((epoch, files.get_path(epoch, keys[epoch - 1])))
        if candidates:
            files.mark_used(candidates[0][1])
        epochs = self._find_branching_epochs(path)
        if task.source and not self._is_sharing_unlikely(task.source.search):
            epochs |= {epoch for epoch in _find_window_epochs(task) if epoch < len(keys)}
        missing = sorted(epoch for epoch in epochs if not files.has(keys[epoch - 1]))
        self._epochs_to_save[task] = missing
        return candidates, {epoch: files.get_path(epoch, keys[epoch - 1]) for epoch in missing}

    def _find_branching_epochs(self, path: _TrialPath) -> set[int]:
        """Return the numbers of epochs after which pending tasks branch off a path."""
        pending = [self._pending_counts[key] for key in path.prefix_keys] + [0]
        last = len(path.prefix_keys)
        return {epoch for epoch in range(1, last + 1) if pending[epoch - 1] > pending[epoch]}

    def record_saved(self, task: TrialTask, epoch: int, size: int) -> None:
        """Record a saved checkpoint, and remove files that exceed the size limit.

        Args:
            task: The task that has saved it.
            epoch: Number of epochs after which it was saved.
            size: Size in bytes.
        """
        path = self._paths.get(task.spec.key)
        if path is not None and self.files is not None:
            self.files.add(epoch, path.prefix_keys[epoch - 1], size)
            self.files.trim(self._pending_counts)

    def _find_available(self, path: _TrialPath) -> Iterator[int]:
        """Yield the numbers of epochs with an available checkpoint, the deepest first."""
        assert self.files is not None
        for epoch in range(len(path.prefix_keys), 0, -1):
            if self.files.has(path.prefix_keys[epoch - 1]):
                yield epoch

    def _record_proposal(self, search: Search, number: int, first_key: bytes) -> None:
        """Record the first epoch of a proposal, to see if proposals of a search share prefixes."""
        prefixes = self._searches.setdefault(search, _SearchPrefixes())
        prefixes.proposals.add(number)
        prefixes.has_common |= prefixes.first_proposals.setdefault(first_key, number) != number

    def _is_sharing_unlikely(self, search: Search) -> bool:
        """Return True if proposals seem to differ from the first epoch, as for learning rates."""
        prefixes = self._searches[search]
        return not prefixes.has_common and len(prefixes.proposals) >= _PATIENCE


def _find_window_epochs(task: TrialTask) -> list[int]:
    """Return the epochs after the first at which the window of a method starts or stops."""
    method, epochs = task.spec.config.effective_method, task.spec.config.trainer.epochs
    if not isinstance(method, WindowedMethodConfig):
        return []
    return [epoch for epoch in method.window.epochs(epochs) if epoch]


def open_prefix_cache(folder: StoragePath, gigabytes: float, clear: bool = False) -> PrefixCache:
    """Open the prefix cache in a folder.

    Args:
        folder: Folder or bucket path of the checkpoints.
        gigabytes: Size limit; 0 disables prefix sharing.
        clear: True to remove the existing checkpoints.

    Returns:
        The cache.
    """
    if clear:
        PrefixStore(folder, 0).trim({})
    if gigabytes <= 0:
        return PrefixCache()
    return PrefixCache(PrefixStore(folder, 1e9 * gigabytes))
