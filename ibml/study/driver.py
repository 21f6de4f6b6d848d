"""Between whoever trains and the records: hands out tasks, and turns what comes back into runs, verdicts, progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from ibml.config.printable import printable
from ibml.config.records import TrialRecord
from ibml.interruption import deferred, is_requested
from ibml.search.database import as_database_error
from ibml.search.search import Ending
from ibml.storage import Place
from ibml.study.faults import Fault, death
from ibml.study.outcome import Outcome
from ibml.study.past import past_of
from ibml.study.progress import StudyProgress
from ibml.study.queue import Follow, Past, SearchSource, Task, TrialQueue
from ibml.study.stages import Stages
from ibml.study.trial_run import described
from ibml.tracking.entries import Begin, End, Prune, Rows, Share, Stop, Tagged
from ibml.tracking.session import Session
from ibml.tracking.uri import TrackingError
from ibml.training.kept import clear

R = TypeVar("R")

_log = logging.getLogger(__name__)

SHARED_TAG = "ibml.shared"
"""How many epochs a trial took over from another."""
_STALL_SECONDS = 30.0
_LOOK_SECONDS = 2.0
"""How often trials that other drivers train are looked for in the store."""


class Driver:
    """Runs a queue. All that the store gets goes through a session, so that nothing waits for it.

    `known` has the runs of keys that were begun before; they go on. A search is told how a trial ended only when that
    is in the session's spool, so that whatever is killed in between is found there and not trained again.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        searches: Sequence[SearchSource],
        known: Mapping[str, TrialRecord],
        session: Session,
        progress: StudyProgress,
        database: str = "",
        follow: Follow = lambda task, ending, final: (),
        stages: Stages | None = None,
    ):
        self._more = follow
        self.queue = TrialQueue(tasks, searches, self._past, self._reuse, self._follow, self._claim, stages)
        self.known, self.session, self.progress, self.database = dict(known), session, progress, database
        self.outcome = Outcome()
        self.error: Exception | None = None
        self._claimed: set[Task] = set()
        self._begun: set[Task] = set()
        self._arrived: set[str] = set()  # keys whose trials go on as another task
        self._first: Task | None = None
        self._looked, self._told = 0.0, False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(deferred(self._announce_stop))
            stack.enter_context(self.progress)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in (*(task.trial.key for task in self._claimed), *self._arrived):
            self.session.add(key, Stop())
        self.outcome.interrupted = self.error is None and not self.queue.done
        try:
            self.session.settle()
        finally:
            self._stack.__exit__(kind, error, trace)

    def _announce_stop(self) -> str:
        running = self.progress.running
        waiting = f"waiting for {running} running {'trial' if running == 1 else 'trials'} to checkpoint"
        return f"Stopping: {waiting if running else 'no trial is running'} (a second Ctrl-C ends at once) ..."

    @property
    def stopped(self) -> bool:
        """Whether all trials are to stop: after an error of the queue, or since this process was asked to."""
        return self.error is not None or is_requested()

    @property
    def done(self) -> bool:
        """Whether nothing is left to hand out or to wait for."""
        return self.stopped or self.queue.done

    def has_work(self) -> bool:
        """Whether anything has to be trained here at all. What is known already is taken in, and what others train is
        waited for."""
        while self._first is None and not self.done:
            self._first = self.next(1)
            if self._first is None and not self.done:
                time.sleep(_LOOK_SECONDS / 4)
        return self._first is not None

    def next(self, slots: int, ahead: int = 0) -> Task | None:
        """The next task for one of so many places to train at, or nothing for now. So many more are handed out
        `ahead`, except where other drivers could train them now."""
        if self.stopped:
            return None
        if self._first:
            first, self._first = self._first, None
            return first
        return self._of_queue(lambda: self._next(slots, ahead), None)

    def _next(self, slots: int, ahead: int) -> Task | None:
        self.queue.share_out(slots)
        self._look_elsewhere()
        if self.queue.flying >= slots + (1 if self.queue.elsewhere else ahead):
            return None
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

    def _claim(self, task: Task) -> bool:
        """Whether the trial is ours to train. A result that another driver has left meanwhile becomes known; one that
        does not have what a search looks at is trained beside, and not recorded again."""
        key = task.trial.key
        if task in self._claimed:
            return True  # it goes on after a fault
        if key in self._arrived:
            self._arrived.remove(key)
            self._claimed.add(task)
            self.session.add(key, Tagged(task.tags))
            return True
        trial = described(task.trial, task.parent, task.tags)
        claim = self.session.claim(trial, self.known.get(key))
        if claim and claim.result:
            self.known[key] = claim.result
        if claim and not claim.run_id and not (claim.result and self._past(task) is None):
            return False
        self._claimed.add(task)
        self.session.add(key, Begin(trial, claim.run_id if claim else ""))
        return True

    def _look_elsewhere(self) -> None:
        """See whether trials that other drivers had are done, or are left by them."""
        waiting, recorder = self.queue.elsewhere, self.session.recorder
        if not waiting or time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        if recorder.down and recorder.waiting:
            return  # the recorder tries the store; where it has nothing to try with, this look does
        if not self._told:
            self._told = True
            self.session.say(f"{len(waiting)} trials are being run by another driver; waiting for them.")
        try:
            self.session.deliver_left_behind()  # of a driver that has ended meanwhile
            found = self.session.store.results({task.trial.key for task in waiting})
            others = self.session.presence.others()
        except TrackingError as error:
            recorder.failed(error)
            return
        finally:
            self._looked = time.monotonic()
        recorder.answered()
        self.known |= {key: record for key, record in found.items() if record.ended}
        held = {key for key, record in found.items() if not record.ended and record.driver in others}
        self.queue.reconsider([task for task in waiting if task.trial.key not in held])

    def begin(self, task: Task) -> None:
        """A task is being trained."""
        task.hear()
        if task not in self._begun:
            self._begun.add(task)
            self.progress.trial_started()
            self.progress.skipped(0, task.first)

    def result(self, task: Task, result: Mapping[str, Any]) -> bool:
        """Take in what a worker reported; whether the task goes on."""
        if not self.queue.trains(task):
            return False
        rows = [{**row, **task.numbers} for row in result.get("rows", [])]
        for note in result.get("notes", []):
            self.session.warn(f"{task.trial.name}: {note}")
        self.progress.epochs_trained(len(rows))
        if rows:
            self.session.add(task.trial.key, Rows(rows))
        if shared := result.get("shared"):
            self.outcome.shared += shared
            self.session.add(task.trial.key, Tagged({SHARED_TAG: str(shared)}))
        for epoch, size in result.get("left", {}).items():
            self.queue.stages.left(task, epoch, size)
        goes_on = self._of_queue(lambda: self.queue.report(task, rows), False)
        if "error" in result:
            self.fault(task, Fault(result["error"], result["traceback"], result["epoch"]))
        elif not goes_on:
            self._end(task, "finished", {}, {})
        elif "state" in result:
            self._arrive(task, result["state"])
        elif result["done"]:
            tags = {"ibml.reason": result["reason"], "ibml.platform": result["platform"]}
            self._end(task, result["status"], result["final"], tags)
        return goes_on and not result["done"]

    def is_silent(self, task: Task) -> bool:
        """Whether a task's worker should have ended itself because it hangs, and did not."""
        patience = 60 * task.config.trainer.stall_minutes + _STALL_SECONDS
        return self.queue.trains(task) and time.monotonic() - task.heard > patience

    def died(self, task: Task, reason: str, log: str) -> None:
        """A task's worker ended without a word."""
        if not self.queue.trains(task):
            return  # it had ended before its worker did
        self.begin(task)  # the worker may have died between two trials
        self.fault(task, death(self.folder(task), reason, log, task.config.trainer.stall_minutes))

    def fault(self, task: Task, fault: Fault) -> None:
        """Something went wrong with a trial: it goes on from its last checkpoint where that can help, or has failed."""
        self.progress.epochs_trained(-task.epochs)
        if self.error is None and self.queue.retry(task, fault):
            tags = {"ibml.retries": str(len(task.faults)), "ibml.retried_after": fault.reason[:500]}
            self.session.add(task.trial.key, Tagged(tags))
            _log.warning("%s is retried after a fault: %s", printable(task.trial.name), printable(fault.reason))
            return
        _log.warning("%s failed: %s", printable(task.trial.name), printable(fault.reason))
        self.outcome.failed.append((task.trial.name, fault.reason))
        self._end(task, "failed", {}, {"ibml.reason": fault.reason}, fault.log)

    def folder(self, task: Task) -> Place:
        """Where a task's trial has its checkpoints."""
        return self.session.workspace.trial(task.trial.key)

    def _arrive(self, task: Task, state: bytes) -> None:
        """A part of a trial is trained. Its state counts only when its epochs are in the spool, so that a search that
        is killed in between trains them again and logs them once."""
        self._forget(task)
        self._arrived.add(task.trial.key)
        self._of_queue(lambda: self.queue.arrive(task, state), None)

    def _forget(self, task: Task) -> None:
        """A task has ended."""
        self._claimed.remove(task)
        self._begun.discard(task)

    def _end(
        self, task: Task, ending: Ending, final: Mapping[str, float], tags: Mapping[str, str], log: str | None = None
    ) -> None:
        if self.error:
            return  # it is stopped with the others
        self._forget(task)
        pruned = task.attempt.pruned if task.attempt else ""
        ended = {**tags, "ibml.reason": pruned} if pruned else dict(tags)
        self.session.add(task.trial.key, End("pruned" if pruned else ending, dict(final), ended, log))
        if ending != "failed":
            clear(self.folder(task), task.keep if ending == "finished" else "none")
        self.outcome.pruned += bool(pruned)
        self.outcome.finished += not pruned and ending != "failed"
        unused = task.trial.config.trainer.epochs - task.first - task.epochs
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
        """What the store has of a task's key."""
        record = self.known.get(task.trial.key)
        return past_of(task, record, self.session.store) if record else None

    def _reuse(self, task: Task) -> None:
        """A task needs no training, since the result of its key is known."""
        self.outcome.reused += 1
        self.progress.skipped(1, task.trial.config.trainer.epochs)
        key = task.trial.key
        record, study = self.known.get(key), task.tags.get("ibml.study")
        if record is None:
            return
        if task.attempt and task.attempt.pruned and not record.ended:
            self.session.add(key, Prune(record.run_id, task.attempt.pruned))
        if study and record.ended and study not in record.studies:
            self.session.add(key, Share(record.run_id, study, task.trial.cell.arm))
