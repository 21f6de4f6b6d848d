"""Carries out the scheduler's decisions: between whoever trains and the records.

A backend asks `next` for tasks, and passes on what workers report. The coordinator looks up known results, claims
trials, records events in the session, and counts progress.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from ibml.common.processes.interruption import deferred, is_stop_requested
from ibml.common.sanitize import strip_control_characters
from ibml.common.storage import StoragePath
from ibml.records import MetricRow, TrialRecord
from ibml.search.database import translate_database_errors
from ibml.search.search import Ending, Search
from ibml.study.engine.prefix_cache import PrefixCache
from ibml.study.engine.progress import StudyProgress
from ibml.study.engine.retry import Fault, fault_from_worker_death
from ibml.study.engine.run_summary import RunSummary
from ibml.study.engine.scheduler import Scheduler, SchedulingDecision
from ibml.study.engine.tasks import PriorResult, SearchSource, TrialTask
from ibml.study.engine.trial_ledger import TrialLedger
from ibml.tracking.journal.events import (
    MetricsLogged,
    TagsUpdated,
    TrialEnded,
)
from ibml.tracking.session import Session
from ibml.training.checkpoint_retention import remove_checkpoints

R = TypeVar("R")

_log = logging.getLogger(__name__)

SHARED_TAG = "ibml.shared"
"""How many epochs a trial took over from another."""
_STALL_SECONDS = 30.0
_IDLE_SECONDS = 0.5
"""How long to wait for another driver before it is looked for again."""


class FollowUps(Protocol):
    """Trials that a study adds once results are known."""

    def after_trial(self, task: TrialTask, ending: Ending, final: MetricRow) -> Iterable[TrialTask]:
        """Return the trials to add after a planned trial."""

    def after_search(self, search: Search) -> Iterable[TrialTask]:
        """Return the trials to add after a search has finished."""


class NoFollowUps:
    """A run whose trials are all known at its beginning."""

    def after_trial(self, task: TrialTask, ending: Ending, final: MetricRow) -> Iterable[TrialTask]:
        return ()

    def after_search(self, search: Search) -> Iterable[TrialTask]:
        return ()


class Coordinator:
    """Runs a scheduler's tasks.

    Everything that the store gets goes through the session, so that nothing waits for the store. A search is told how
    a trial ended only after that is in the session's journal: a trial that ended before a kill is found there, and is
    not trained again.

    Args:
        session: The driver's session on the store.
        progress: Progress shown to the user.
        tasks: Planned trials.
        sources: Searches.
        known: Records of earlier trials, by key; unfinished ones are continued.
        database: URL of Optuna's database, for error messages.
        follow_ups: Trials to add once results are known.
        prefixes: Training prefixes that trials share.
    """

    def __init__(
        self,
        session: Session,
        progress: StudyProgress,
        tasks: Sequence[TrialTask] = (),
        sources: Sequence[SearchSource] = (),
        known: Mapping[str, TrialRecord] | None = None,
        database: str = "",
        follow_ups: FollowUps | None = None,
        prefixes: PrefixCache | None = None,
    ):
        self.scheduler = Scheduler(tasks, sources, prefixes)
        self.session, self.progress, self.database = session, progress, database
        self._ledger = TrialLedger(session, known or {})
        self.follow_ups = follow_ups or NoFollowUps()
        self.summary = RunSummary()
        self.error: Exception | None = None
        self._started: set[TrialTask] = set()
        self._first: TrialTask | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(deferred(self._announce_stop))
            stack.enter_context(self.progress)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ledger.interrupt_claimed()
        self.summary.interrupted = self.error is None and not self.scheduler.is_done
        try:
            self.session.flush()
        finally:
            self._stack.__exit__(kind, error, trace)

    def _announce_stop(self) -> str:
        running = self.progress.running
        waiting = (
            f"waiting for {running} running {'trial' if running == 1 else 'trials'} to checkpoint"
        )
        return f"Stopping: {waiting if running else 'no trial is running'} (a second Ctrl-C ends at once) ..."

    @property
    def is_stopped(self) -> bool:
        """Whether all trials are to stop: after an error of the engine, or because the process was asked to."""
        return self.error is not None or is_stop_requested()

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to hand out or to wait for."""
        return self.is_stopped or self.scheduler.is_done

    def has_work(self) -> bool:
        """Return whether anything has to be trained here.

        Known results are taken in first, and trials of other drivers are waited for.
        """
        while self._first is None and not self.is_done:
            self._first = self.next(1)
            if self._first is None and not self.is_done:
                time.sleep(_IDLE_SECONDS)
        return self._first is not None

    def next(self, slots: int, ahead: int = 0) -> TrialTask | None:
        """Return the next task to train, or None for now.

        Args:
            slots: Number of trials that can be trained at the same time.
            ahead: Number of tasks to hand out beyond that, unless other drivers could train them now.
        """
        if self.is_stopped:
            return None
        if self._first:
            first, self._first = self._first, None
            return first
        return self._guard(lambda: self._next(slots, ahead), None)

    def _next(self, slots: int, ahead: int) -> TrialTask | None:
        scheduler = self.scheduler
        scheduler.share_slots(slots)
        scheduler.reconsider(self._ledger.find_released(scheduler.deferred_tasks))
        if scheduler.running_count >= slots + (1 if scheduler.deferred_tasks else ahead):
            return None
        self._follow_finished_searches()
        room = not scheduler.is_searching or scheduler.running_count < slots
        while True:
            task = scheduler.take_candidate(room)
            if task is not None:
                if self._take(task):
                    return task
            elif not self._follow_finished_searches():
                return None

    def _take(self, task: TrialTask) -> bool:
        """Carry out the decision about a candidate; return whether it is to be trained now."""
        prior = self._find_prior_result(task)
        decision = self.scheduler.decide(task, prior)
        if decision is SchedulingDecision.TRAIN:
            if self._ledger.claim(task):
                self.scheduler.start(task)
                return True
            prior = self._find_prior_result(task)  # the claim may have found a result
            decision = self.scheduler.decide(task, prior)
            if decision is SchedulingDecision.TRAIN:
                self.scheduler.defer(task)
        if decision is SchedulingDecision.REUSE and prior is not None:
            self._reuse(task, prior)
        return False

    def _find_prior_result(self, task: TrialTask) -> PriorResult | None:
        """Return what is known about a task's key: from this run, else from the store."""
        return self.scheduler.get_result(task) or self._ledger.get_prior_result(task)

    def _follow_finished_searches(self) -> bool:
        """Add the trials that follow from searches that have finished; return whether there was any such search."""
        finished = self.scheduler.take_finished_searches()
        for search in finished:
            self.scheduler.add(self.follow_ups.after_search(search))
        return bool(finished)

    def _guard(self, call: Callable[[], R], otherwise: R) -> R:
        """Call the engine. Its first error stops all trials and is raised after them: Ray would take it for an error of
        the trial, and continue."""
        if self.error:
            return otherwise
        try:
            with translate_database_errors(self.database):
                return call()
        except Exception as error:  # noqa: BLE001
            self.error = error
            return otherwise

    def start(self, task: TrialTask) -> None:
        """Take in that a task is being trained."""
        task.record_report()
        if task not in self._started:
            self._started.add(task)
            self.progress.record_trial_start()
            self.progress.record_skipped(0, task.first_epoch)

    def report(self, task: TrialTask, result: Mapping[str, Any]) -> bool:
        """Take in a worker's report; return whether the task continues.

        Args:
            task: The task.
            result: The report, see `ibml.study.engine.worker.TrialWorker.step`.
        """
        if not self.scheduler.is_running(task):
            return False
        rows = [{**row, **task.interval_values} for row in result.get("rows", [])]
        self._record_report(task, rows, result)
        continues = self._guard(lambda: self.scheduler.report(task, rows), False)
        if "error" in result:
            self.handle_fault(task, Fault(result["error"], result["traceback"], result["epoch"]))
        elif not continues:
            self._end(task, "finished", {}, {})
        elif "state" in result:
            self._end_interval(task, result["state"])
        elif result["done"]:
            tags = {"ibml.reason": result["reason"], "ibml.platform": result["platform"]}
            self._end(task, result["status"], result["final"], tags)
        return continues and not result["done"]

    def _record_report(
        self, task: TrialTask, rows: Sequence[MetricRow], result: Mapping[str, Any]
    ) -> None:
        for note in result.get("notes", []):
            self.session.warn(f"{task.spec.name}: {note}")
        self.progress.record_epochs(len(rows))
        if rows:
            self.session.add(task.key, MetricsLogged(rows))
        if shared := result.get("shared"):
            self.summary.shared += shared
            self.session.add(task.key, TagsUpdated({SHARED_TAG: str(shared)}))
        for epoch, size in result.get("left", {}).items():
            self.scheduler.prefixes.record_saved(task, epoch, size)

    def is_silent(self, task: TrialTask) -> bool:
        """Return whether a task's worker hangs: it should have ended itself by now, and did not."""
        patience = 60 * task.config.trainer.stall_minutes + _STALL_SECONDS
        return self.scheduler.is_running(task) and time.monotonic() - task.last_report > patience

    def handle_worker_death(self, task: TrialTask, reason: str, log: str) -> None:
        """Take in that a task's worker has ended without a report."""
        if not self.scheduler.is_running(task):
            return  # it had ended before its worker did
        self.start(task)  # the worker may have died between two trials
        fault = fault_from_worker_death(
            self.get_checkpoint_folder(task), reason, log, task.config.trainer.stall_minutes
        )
        self.handle_fault(task, fault)

    def handle_fault(self, task: TrialTask, fault: Fault, retry: bool = True) -> None:
        """Take in a fault: the trial is trained again from its last checkpoint if that can help, or has failed.

        Args:
            task: The task.
            fault: What went wrong.
            retry: Whether the trial may be trained again.
        """
        self.progress.record_epochs(-task.epochs)
        if retry and self.error is None and self.scheduler.retry(task, fault):
            tags = {"ibml.retries": str(len(task.faults)), "ibml.retried_after": fault.reason[:500]}
            self.session.add(task.key, TagsUpdated(tags))
            _log.warning(
                "%s is retried after a fault: %s",
                strip_control_characters(task.spec.name),
                strip_control_characters(fault.reason),
            )
            return
        _log.warning(
            "%s failed: %s",
            strip_control_characters(task.spec.name),
            strip_control_characters(fault.reason),
        )
        self.summary.failed.append((task.spec.name, fault.reason))
        self._end(task, "failed", {}, {"ibml.reason": fault.reason}, fault.log)

    def get_checkpoint_folder(self, task: TrialTask) -> StoragePath:
        """Return the folder of a task's checkpoints."""
        return self.session.workspace.trial(task.key)

    def _end_interval(self, task: TrialTask, state: bytes) -> None:
        """Take in the end of a population's interval.

        The state counts only after its epochs are in the journal: a search that is killed in between trains them again
        and logs them once.
        """
        self._release(task, continues=True)
        self._guard(lambda: self.scheduler.end_interval(task, state), None)

    def _release(self, task: TrialTask, continues: bool = False) -> None:
        self._ledger.release(task, continues)
        self._started.discard(task)

    def _end(
        self,
        task: TrialTask,
        ending: Ending,
        final: Mapping[str, float],
        tags: Mapping[str, str],
        log: str | None = None,
    ) -> None:
        if self.error:
            return  # it is stopped with the others
        self._release(task)
        pruned = task.trial_run.pruned if task.trial_run else ""
        all_tags = {**tags, "ibml.reason": pruned} if pruned else dict(tags)
        self.session.add(
            task.key, TrialEnded("pruned" if pruned else ending, dict(final), all_tags, log)
        )
        if ending != "failed":
            remove_checkpoints(
                self.get_checkpoint_folder(task), task.keep if ending == "finished" else "none"
            )
        self.summary.pruned += bool(pruned)
        self.summary.finished += not pruned and ending != "failed"
        unused_epochs = task.spec.config.trainer.epochs - task.trained_epochs
        self._guard(
            lambda: self._end_in_scheduler(task, ending, final, tags.get("ibml.reason", "")), None
        )
        self.progress.record_trial_end(ending == "failed", unused_epochs)
        if task.trial_run and task.source and (pruned or ending != "finished"):
            seeds_left = len(task.source.search.seeds) - task.trial_run.position - 1
            self.progress.record_skipped(seeds_left, seeds_left * task.spec.config.trainer.epochs)

    def _end_in_scheduler(
        self, task: TrialTask, ending: Ending, final: MetricRow, reason: str
    ) -> None:
        self.scheduler.end(task, ending, final, reason)
        if task.source is None:
            self._follow_trial(task, ending, final)

    def _follow_trial(self, task: TrialTask, ending: Ending, final: MetricRow) -> None:
        """Add the trials that follow from a planned trial."""
        added = list(self.follow_ups.after_trial(task, ending, final))
        if added:
            self.progress.record_added(
                len(added), sum(new.spec.config.trainer.epochs for new in added)
            )
        self.scheduler.add(added)

    def _reuse(self, task: TrialTask, prior: PriorResult) -> None:
        """Take in that the result of a task's key is known."""
        self.summary.reused += 1
        self.progress.record_skipped(1, task.spec.config.trainer.epochs)
        self._ledger.share_result(task)
        if task.source is None:
            assert prior.ending is not None
            self._follow_trial(task, prior.ending, prior.final)
