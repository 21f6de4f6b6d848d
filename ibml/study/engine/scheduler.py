"""Scheduler: decides which trial is trained next, among planned trials and proposals of searches.

The scheduler knows tasks and searches only. The coordinator takes a candidate, looks up its prior
result, and carries out the scheduler's decision:

    candidate = scheduler.take_candidate()
    decision = scheduler.decide(candidate, prior)    # TRAIN, REUSE or WAIT
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum, auto

from ibml.records import MetricRow
from ibml.search.population import Population
from ibml.search.search import Ending, Search
from ibml.study.engine.prefix_cache import PrefixCache
from ibml.study.engine.retry import Fault, should_retry
from ibml.study.engine.tasks import PriorResult, SearchSource, TrialTask

_METRICS_OF_SEARCHES = ("epoch", "val.", "time.")


class SchedulingDecision(Enum):
    """Decision about a candidate."""

    TRAIN = auto()
    """Claim it, then call `start`; or `defer` if another driver has claimed it."""
    REUSE = auto()
    """Use its known result."""
    WAIT = auto()
    """Do nothing: a running task will save a checkpoint for it. It will be a candidate again."""


class Scheduler:
    """Hands out tasks to train.

    Proposals of searches come before planned trials. The search with the fewest started trials is
    asked first, so several searches progress evenly; planned trials fill the remaining slots. A
    key is trained by one task at a time.

    Args:
        tasks: Planned trials, in order.
        sources: Searches that propose more trials.
        prefixes: Cache of training prefixes; None disables prefix sharing.
    """

    def __init__(
        self,
        tasks: Iterable[TrialTask] = (),
        sources: Sequence[SearchSource] = (),
        prefixes: PrefixCache | None = None,
    ):
        self.prefixes = prefixes or PrefixCache()
        self.sources = tuple(sources)
        self.deferred_tasks: list[TrialTask] = []
        """Tasks that other drivers are training."""
        self._planned = deque[TrialTask]()
        self._open_sources = list(sources)
        self._retries = deque[TrialTask]()
        """Candidates with priority: tasks to train again, and tasks that have waited."""
        self._running: dict[str, TrialTask] = {}
        self._duplicates: dict[str, deque[TrialTask]] = {}
        """Tasks that wait because another task with the same key is running, by key."""
        self._followers: dict[TrialTask, list[TrialTask]] = {}
        """Tasks that wait for a checkpoint, by the task that will save it."""
        self._results: dict[str, PriorResult] = {}
        self.add(tasks)

    @property
    def is_done(self) -> bool:
        """True if there is no task left to hand out or to wait for."""
        queued = self._planned or self._retries or self.deferred_tasks
        return not (queued or self._running or self._duplicates or self._open_sources)

    @property
    def is_searching(self) -> bool:
        """True if a search may still propose trials."""
        return bool(self._open_sources)

    @property
    def running_count(self) -> int:
        """Number of tasks that are being trained."""
        return len(self._running)

    def is_running(self, task: TrialTask) -> bool:
        """Return True if a task was started and has not ended."""
        return self._running.get(task.key) is task

    def add(self, tasks: Iterable[TrialTask]) -> None:
        """Append planned trials."""
        for task in tasks:
            self.prefixes.register(task)
            self._planned.append(task)

    def share_slots(self, slots: int) -> None:
        """Set the concurrency of searches that do not configure it, so that all slots are used."""
        for source in self.sources:
            source.search.concurrency = source.search.config.concurrency or -(
                -slots // len(self.sources)
            )

    def take_finished_searches(self) -> list[Search]:
        """Return the searches that have finished since the last call."""
        finished = [source for source in self._open_sources if source.search.done]
        self._open_sources = [source for source in self._open_sources if source not in finished]
        return [source.search for source in finished]

    def take_candidate(self, room: bool = True) -> TrialTask | None:
        """Take the next task whose key no running task has.

        Args:
            room: True to hand out planned trials too. With False, slots stay free for the next
                proposals of searches.

        Returns:
            The task, or None if there is none at the moment.
        """
        self._release_followers_of_late_tasks()
        while (task := self._take_next(room)) is not None:
            if task.key not in self._running:
                return task
            self._duplicates.setdefault(task.key, deque()).append(task)
        return None

    def get_result(self, task: TrialTask) -> PriorResult | None:
        """Return the result of another task of this run with the same key, if any."""
        return self._results.get(task.key)

    def decide(self, task: TrialTask, prior: PriorResult | None) -> SchedulingDecision:
        """Decide what to do with a candidate.

        Args:
            task: The candidate.
            prior: Known result of its key, from this run (`get_result`) or from the store.

        Returns:
            The decision. After WAIT the task becomes a candidate again without further calls.
        """
        if self._try_reuse(task, prior):
            self.prefixes.unregister(task)
            return SchedulingDecision.REUSE
        on_time = [other for other in self._running.values() if not other.is_late]
        producer = self.prefixes.find_pending_producer(task, on_time)
        if producer is None:
            return SchedulingDecision.TRAIN
        self._followers.setdefault(producer, []).append(task)
        return SchedulingDecision.WAIT

    def start(self, task: TrialTask) -> None:
        """Mark a candidate as running, and choose the checkpoints it starts from and saves."""
        self._running[task.key] = task
        task.warm_start_candidates, task.checkpoints_to_save = self.prefixes.start(task)

    def defer(self, task: TrialTask) -> None:
        """Set aside a candidate that another driver is training, until `reconsider`."""
        self.deferred_tasks.append(task)

    def reconsider(self, tasks: Iterable[TrialTask]) -> None:
        """Make deferred tasks candidates again."""
        for task in tasks:
            self.deferred_tasks.remove(task)
            self._retries.append(task)

    def report(self, task: TrialTask, rows: Sequence[MetricRow]) -> bool:
        """Process the epochs of a running task.

        Args:
            task: The task.
            rows: Metrics per epoch.

        Returns:
            True if its training continues.
        """
        task.epochs += len(rows)
        task.record_report()
        self._retries.extend(self._followers.pop(task, ()))
        if self.sources:
            task.rows += [_select_metrics(row) for row in rows]
        return (
            task.source is None
            or task.trial_run is None
            or task.source.search.report(task.trial_run, rows)
        )

    def end(self, task: TrialTask, ending: Ending, final: MetricRow, reason: str = "") -> None:
        """Process the end of a running task. Tasks that waited for it become candidates again.

        Args:
            task: The task.
            ending: How it ended.
            final: Its final metrics.
            reason: Reason of the ending, if any.
        """
        is_pruned = task.trial_run is not None and bool(task.trial_run.pruned)
        if not is_pruned and ending != "failed":
            self._results[task.key] = PriorResult(task.rows, ending, final, reason)
        if task.source and task.trial_run:
            task.source.search.end(task.trial_run, ending, final, reason)
        self.prefixes.unregister(task)
        self._release(task)

    def end_interval(self, task: TrialTask, state: bytes) -> None:
        """Pass the state at the end of a population's interval to the search.

        Args:
            task: The task that trained the interval.
            state: The packed training state.
        """
        assert task.source is not None
        assert task.trial_run is not None
        assert isinstance(task.source.search, Population)
        task.source.search.on_interval_end(task.trial_run, state)
        self._release(task)

    def retry(self, task: TrialTask, fault: Fault) -> bool:
        """Schedule a task again after a fault, if the retry policy allows it.

        Args:
            task: The task.
            fault: The fault.

        Returns:
            True if the task will be trained again from its last checkpoint.
        """
        task.faults.append(fault)
        if not should_retry(task.faults, task.config.trainer.max_retries):
            return False
        task.reset_progress()
        if task.source and task.trial_run:
            task.source.search.restart(task.trial_run)
        self._release(task)
        self._retries.appendleft(task)
        return True

    def _take_next(self, room: bool) -> TrialTask | None:
        if self._retries:
            return self._retries.popleft()
        for source in sorted(self._open_sources, key=lambda source: source.search.started):
            trial_run = source.search.next()
            if trial_run is not None:
                task = source.make_task(trial_run)
                self.prefixes.register(task)
                return task
        return self._planned.popleft() if self._planned and room else None

    def _try_reuse(self, task: TrialTask, known: PriorResult | None) -> bool:
        """Return True if a known result replaces the training; a search receives the result.

        An interval of a population is always trained, since its final state is needed.
        """
        if task.interval is not None or known is None:
            return False
        if task.source is None or task.trial_run is None:
            return known.complete
        search, trial_run = task.source.search, task.trial_run
        continues = search.report(trial_run, known.rows)
        if continues and not known.complete:
            search.restart(trial_run)
            return False
        search.end(trial_run, known.ending or "finished", known.final, known.reason)
        return True

    def _release(self, task: TrialTask) -> None:
        """Free the slot of a task that is no longer running."""
        del self._running[task.key]
        self._retries.extend(self._duplicates.pop(task.key, ()))
        self._retries.extend(self._followers.pop(task, ()))

    def _release_followers_of_late_tasks(self) -> None:
        late = [producer for producer in self._followers if producer.is_late]
        for producer in late:
            self._retries.extend(self._followers.pop(producer))


def _select_metrics(row: MetricRow) -> MetricRow:
    """Return the metrics of an epoch that searches need."""
    return {name: value for name, value in row.items() if name.startswith(_METRICS_OF_SEARCHES)}
