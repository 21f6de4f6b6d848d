"""Between whoever trains and the records: hands out tasks, and turns what comes back into runs, verdicts, progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from ibml.config.records import TrialRecord
from ibml.search.database import as_database_error
from ibml.search.search import Ending
from ibml.search.values import needed_metrics
from ibml.study.outcome import Outcome
from ibml.study.progress import StudyProgress
from ibml.study.queue import Follow, Past, SearchSource, Task, TrialQueue
from ibml.study.trial_run import TrialRun
from ibml.tracking.mlflow_store import MlflowStore
from ibml.tracking.recorder import Recorder
from ibml.tracking.uri import TrackingError

R = TypeVar("R")


class Driver:
    """Runs a queue. Everything for the store goes through a recorder's thread; leaving the context waits for it.

    `known` has the runs of keys that were begun before; they go on. A search is told how a trial ended only when the
    store has it, so that whatever is killed in between is found in the store and not trained again.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        searches: Sequence[SearchSource],
        known: Mapping[str, TrialRecord],
        store: MlflowStore,
        progress: StudyProgress,
        database: str = "",
        follow: Follow = lambda task, ending, final: (),
    ):
        self._more = follow
        self.queue = TrialQueue(tasks, searches, self._past, self._reuse, self._follow)
        self.known, self.store, self.progress, self.database = known, store, progress, database
        self.recorder = Recorder()
        self.outcome = Outcome()
        self.error: Exception | None = None
        self._runs: dict[Task, TrialRun] = {}
        self._arrived: dict[str, TrialRun] = {}  # by key: runs of trials that go on as another task
        self._first: Task | None = None

    def __enter__(self) -> Self:
        self.progress.__enter__()
        self.recorder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in (*self._runs.values(), *self._arrived.values()):
            self.recorder.submit(run.stop)
        self.outcome.interrupted = not self.done
        self.recorder.__exit__(kind, error, trace)
        self.outcome.tracking_failures = self.recorder.failures
        self.progress.__exit__(kind, error, trace)

    @property
    def done(self) -> bool:
        """Whether nothing is left to hand out or to wait for."""
        return self.error is not None or self.queue.done

    def has_work(self) -> bool:
        """Whether anything has to be trained at all. What is known already is taken in."""
        self._first = self._first or self.next(1)
        return self._first is not None

    def next(self, slots: int) -> Task | None:
        """The next task for one of so many places to train at, or nothing for now."""
        if self._first and not self.error:
            first, self._first = self._first, None
            return first
        return self._of_queue(lambda: self._next(slots), None)

    def _next(self, slots: int) -> Task | None:
        self.queue.share_out(slots)
        searching = any(not source.closed for source in self.queue.searches)
        return self.queue.next(room=not searching or self.queue.flying < slots)

    def _of_queue(self, call: Callable[[], R], otherwise: R) -> R:
        """What the queue answers. Its first error stops all trials and is raised after them, since Ray would take one
        for the trial's and go on."""
        if self.error:
            return otherwise
        try:
            with as_database_error(self.database):
                return call()
        except Exception as error:  # noqa: BLE001
            self.error = error
            return otherwise

    def begin(self, task: Task) -> None:
        """A task is being trained."""
        if task in self._runs:
            return  # it was lost with its worker, and goes on with its run
        arrived = self._arrived.pop(task.trial.key, None)
        if arrived is not None:
            self._runs[task] = arrived
            self.recorder.submit(lambda: arrived.tag(task.tags))
            return
        self.progress.trial_started()
        self.progress.skipped(0, task.first)
        run = self._runs[task] = TrialRun(self.store)
        self.recorder.submit(lambda: run.start(task.trial, task.parent, task.tags, self.known.get(task.trial.key)))

    def result(self, task: Task, result: Mapping[str, Any]) -> bool:
        """Take in what a worker reported; whether the task goes on."""
        if task not in self._runs:
            return False
        run, rows = self._runs[task], [{**row, **task.numbers} for row in result.get("rows", [])]
        self.progress.epochs_trained(len(rows))
        self.recorder.submit(lambda: run.log(rows))
        goes_on = self._of_queue(lambda: self.queue.report(task, rows), False)
        if "error" in result:
            self._fail(task, result["error"], result["traceback"])
        elif not goes_on:
            self._end(task, "finished", {}, {})
        elif "state" in result:
            self._arrive(task, result["state"])
        elif result["done"]:
            tags = {"ibml.reason": result["reason"], "ibml.platform": result["platform"]}
            self._end(task, result["status"], result["final"], tags)
        return goes_on and not result["done"]

    def died(self, task: Task, reason: str, log: str) -> None:
        """A task's worker ended without a word."""
        if task not in self._runs:
            if self.error or not self.queue.trains(task):
                return  # it had ended before its worker did
            self.begin(task)  # the worker died between two trials
        if self.error is None and self.queue.lose(task):
            return
        self._fail(task, reason, log)

    def _arrive(self, task: Task, state: bytes) -> None:
        """A part of a trial is trained. Its state counts only when the store has its epochs, so that a search that is
        killed in between trains and logs them again."""
        self._arrived[task.trial.key] = self._runs.pop(task)
        self.recorder.flush()
        self._of_queue(lambda: self.queue.arrive(task, state), None)

    def _fail(self, task: Task, reason: str, log: str) -> None:
        self.outcome.failed.append((task.trial.name, reason))
        self._end(task, "failed", {}, {"ibml.reason": reason}, log)

    def _end(
        self, task: Task, ending: Ending, final: Mapping[str, float], tags: Mapping[str, str], log: str | None = None
    ) -> None:
        run = self._runs.pop(task)
        if self.error:
            self.recorder.submit(run.stop)
            return
        pruned = task.attempt.pruned if task.attempt else ""
        ended = {**tags, "ibml.reason": pruned} if pruned else dict(tags)
        self.recorder.submit(lambda: run.end("pruned" if pruned else ending, dict(final), ended, log))
        self.outcome.pruned += bool(pruned)
        self.outcome.finished += not pruned and ending != "failed"
        unused = task.trial.config.trainer.epochs - task.first - task.epochs
        if task.source:
            self.recorder.flush()
        self._of_queue(lambda: self.queue.end(task, ending, final, tags.get("ibml.reason", "")), None)
        self.progress.trial_ended(ending == "failed", unused)
        if task.attempt and task.source and (pruned or ending != "finished"):
            left = len(task.source.search.seeds) - task.attempt.position - 1
            self.progress.skipped(left, left * task.trial.config.trainer.epochs)

    def _follow(self, task: Task, ending: Ending, final: Mapping[str, float]) -> Sequence[Task]:
        """What follows from how a planned trial ended."""
        more = list(self._more(task, ending, final))
        if more:
            self.progress.added(len(more), sum(new.trial.config.trainer.epochs for new in more))
        return more

    def _past(self, task: Task) -> Past | None:
        """What the store has of a task's key: the result, and for a search the epochs."""
        record = self.known.get(task.trial.key)
        if record is None:
            return None
        ending: Ending | None = "diverged" if record.status == "diverged" else "finished" if record.ended else None
        if task.source is None:
            return Past([], ending, record.metrics)
        selection = task.trial.config.trainer.selection
        try:
            rows = self.store.history(record.run_id, needed_metrics(task.source.search.config, selection))
        except TrackingError:
            rows = []
        if ending == "finished" and len(rows) < task.trial.config.trainer.epochs:
            return None  # not all is there that a search looks at; it is trained again, to the same numbers
        return Past(rows, ending, record.metrics, record.reason)

    def _reuse(self, task: Task) -> None:
        """A task needs no training, since the result of its key is known."""
        self.outcome.reused += 1
        self.progress.skipped(1, task.trial.config.trainer.epochs)
        record, study = self.known.get(task.trial.key), task.tags.get("ibml.study")
        if record is None:
            return
        if task.attempt and task.attempt.pruned and not record.ended:
            reason = {"ibml.reason": task.attempt.pruned}
            self.recorder.submit(lambda: self.store.end_trial(record.run_id, "pruned", {}, 0, reason))
        if study and record.ended and study not in record.studies:
            self.recorder.submit(lambda: self.store.share_trial(record.run_id, study, task.trial.cell.arm))
