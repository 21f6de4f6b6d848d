"""Coordinator of a run, which carries out the scheduler's decisions.

A backend requests tasks and forwards the reports of its workers. The coordinator looks up known
results, claims trials, records events in the session, and counts progress.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from ibml.common.processes.interruption import deferred, is_stop_requested
from ibml.common.sanitize import strip_control_characters
from ibml.common.storage import StoragePath
from ibml.records import MetricRow, TrialRecord
from ibml.search.database import translate_database_errors
from ibml.search.search import Ending
from ibml.study.engine.follow_ups import FollowUps, NoFollowUps
from ibml.study.engine.prefix_cache import PrefixCache
from ibml.study.engine.progress import StudyProgress
from ibml.study.engine.retry import Fault, fault_from_worker_death
from ibml.study.engine.run_summary import RunSummary
from ibml.study.engine.scheduler import Scheduler, SchedulingDecision
from ibml.study.engine.tasks import PriorResult, SearchSource, TrialTask
from ibml.study.engine.trial_ledger import TrialLedger
from ibml.tracking.journal.events import MetricsLogged, TagsUpdated, TrialEnded
from ibml.tracking.session import Session
from ibml.training.checkpoint_retention import remove_checkpoints

R = TypeVar("R")

_log = logging.getLogger(__name__)

SHARED_TAG = "ibml.shared"
"""Tag with the number of epochs that a trial started from another trial's checkpoint."""
_STALL_SECONDS = 30.0
"""Extra time that a worker gets to end itself after `stall_minutes`."""
_IDLE_SECONDS = 0.5
"""Interval at which trials of other drivers are polled before the backend is started."""


class Coordinator:
    """Coordinates the trials of a run between scheduler, backend and store.

    All events go through the session's journal, so training never waits for the store. The end of
    a trial is written to the journal before its search is informed. If the driver is killed in
    between, the result is read from the journal and the trial is not trained again.

    Args:
        session: The driver's session on the store.
        progress: Progress display.
        tasks: Planned trials.
        sources: Searches that propose more trials.
        known: Records of earlier trials, by key; unfinished trials are resumed.
        database: URL of Optuna's database, for error messages.
        follow_ups: Rules for trials that are added after results; None adds no trials.
        prefixes: Cache of training prefixes; None disables prefix sharing.
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
        if running:
            noun = "trial" if running == 1 else "trials"
            state = f"waiting for {running} running {noun} to checkpoint"
        else:
            state = "no trial is running"
        return f"Stopping: {state} (press Ctrl-C again to end immediately) ..."

    @property
    def is_stopped(self) -> bool:
        """True if all trials must stop, after an error of the engine or a signal."""
        return self.error is not None or is_stop_requested()

    @property
    def is_done(self) -> bool:
        """True if there is no task left to train or to wait for, or if the run is stopped."""
        return self.is_stopped or self.scheduler.is_done

    def has_work(self) -> bool:
        """Return True if there is a trial to train in this run.

        Reuses known results first, and waits for trials that other drivers are training.
        """
        while self._first is None and not self.is_done:
            self._first = self.request_task(1)
            if self._first is None and not self.is_done:
                time.sleep(_IDLE_SECONDS)
        return self._first is not None

    def request_task(self, slots: int, ahead: int = 0) -> TrialTask | None:
        """Claim the next task to train.

        Args:
            slots: Number of trials that can be trained concurrently.
            ahead: Number of additional tasks to hand out, unless other drivers could train them.

        Returns:
            The task; None if there is none at the moment, or if the run is stopped.
        """
        if self.is_stopped:
            return None
        if self._first:
            first, self._first = self._first, None
            return first
        return self._guard(lambda: self._find_task(slots, ahead), None)

    def _find_task(self, slots: int, ahead: int) -> TrialTask | None:
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
                if self._try_start(task):
                    return task
            elif not self._follow_finished_searches():
                return None

    def _try_start(self, task: TrialTask) -> bool:
        """Carry out the decision about a candidate; return True if it must be trained now."""
        prior = self._find_prior_result(task)
        decision = self.scheduler.decide(task, prior)
        if decision is SchedulingDecision.TRAIN:
            if self._ledger.claim(task):
                self.scheduler.start(task)
                return True
            prior = self._find_prior_result(task)  # a failed claim may find a result
            decision = self.scheduler.decide(task, prior)
            if decision is SchedulingDecision.TRAIN:
                self.scheduler.defer(task)
        if decision is SchedulingDecision.REUSE and prior is not None:
            self._reuse(task, prior)
        return False

    def _find_prior_result(self, task: TrialTask) -> PriorResult | None:
        """Return the known result of a task's key, from this run or else from the store."""
        return self.scheduler.get_result(task) or self._ledger.get_prior_result(task)

    def _follow_finished_searches(self) -> bool:
        """Add the follow-ups of finished searches; return True if a search has finished."""
        finished = self.scheduler.take_finished_searches()
        for search in finished:
            self.scheduler.add(self.follow_ups.after_search(search))
        return bool(finished)

    def _guard(self, call: Callable[[], R], otherwise: R) -> R:
        """Call a function of the engine, and stop the run at its first error.

        The error is raised after all trials have stopped. Ray would treat an exception here as an
        error of the trial, and continue.

        Args:
            call: The function.
            otherwise: Return value after an error.

        Returns:
            The function's return value, or `otherwise`.
        """
        if self.error:
            return otherwise
        try:
            with translate_database_errors(self.database):
                return call()
        except Exception as error:  # noqa: BLE001
            self.error = error
            return otherwise

    def start(self, task: TrialTask) -> None:
        """Record that the training of a task has started."""
        task.record_report()
        if task not in self._started:
            self._started.add(task)
            self.progress.record_trial_start()
            self.progress.record_skipped(0, task.first_epoch)

    def report(self, task: TrialTask, result: Mapping[str, Any]) -> bool:
        """Process a worker's report.

        Args:
            task: The task.
            result: The report, see `ibml.study.engine.worker.TrialWorker.step`.

        Returns:
            True if the training of the task continues.
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
        """Return True if a task's worker hangs: it is past the time at which it ends itself."""
        patience = 60 * task.config.trainer.stall_minutes + _STALL_SECONDS
        return self.scheduler.is_running(task) and time.monotonic() - task.last_report > patience

    def handle_worker_death(self, task: TrialTask, reason: str, log: str) -> None:
        """Process the end of a worker that sent no report.

        Args:
            task: The worker's task.
            reason: Reason in one line.
            log: Traceback or log of the worker.
        """
        if not self.scheduler.is_running(task):
            return  # the task ended before its worker
        self.start(task)  # the worker may have died between two trials
        folder, minutes = self.get_checkpoint_folder(task), task.config.trainer.stall_minutes
        fault = fault_from_worker_death(folder, reason, log, minutes)
        self.handle_fault(task, fault)

    def handle_fault(self, task: TrialTask, fault: Fault, retry: bool = True) -> None:
        """Retry a trial from its last checkpoint after a fault, or mark it as failed.

        Args:
            task: The task.
            fault: The fault.
            retry: False to mark the trial as failed without a retry.
        """
        self.progress.record_epochs(-task.epochs)
        name = strip_control_characters(task.spec.name)
        reason = strip_control_characters(fault.reason)
        if retry and self.error is None and self.scheduler.retry(task, fault):
            tags = {"ibml.retries": str(len(task.faults)), "ibml.retried_after": fault.reason[:500]}
            self.session.add(task.key, TagsUpdated(tags))
            _log.warning("%s is retried after a fault: %s", name, reason)
            return
        _log.warning("%s failed: %s", name, reason)
        self.summary.failed.append((task.spec.name, fault.reason))
        self._end(task, "failed", {}, {"ibml.reason": fault.reason}, fault.log)

    def get_checkpoint_folder(self, task: TrialTask) -> StoragePath:
        """Return the folder or bucket path of a task's checkpoints."""
        return self.session.workspace.trial(task.key)

    def _end_interval(self, task: TrialTask, state: bytes) -> None:
        """Process the end of a population's interval.

        The epochs are in the journal before the state is saved. A search that is killed in
        between trains these epochs again, and logs them once.
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
        """Record the end of a trial.

        Args:
            task: The task.
            ending: How it ended.
            final: Final metrics.
            tags: Tags for its run.
            log: Traceback of a failed trial.
        """
        if self.error:
            return  # the trial is stopped like all others
        self._release(task)
        pruned = task.trial_run.pruned if task.trial_run else ""
        event = TrialEnded(ending, dict(final), dict(tags), log)
        if pruned:
            event = TrialEnded("pruned", dict(final), {**tags, "ibml.reason": pruned}, log)
        self.session.add(task.key, event)
        if ending != "failed":
            keep = task.keep if ending == "finished" else "none"
            remove_checkpoints(self.get_checkpoint_folder(task), keep)
        self.summary.pruned += bool(pruned)
        self.summary.finished += not pruned and ending != "failed"
        unused_epochs = task.spec.config.trainer.epochs - task.trained_epochs
        reason = tags.get("ibml.reason", "")
        self._guard(lambda: self._end_in_scheduler(task, ending, final, reason), None)
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
        """Add the follow-ups of a planned trial."""
        added = list(self.follow_ups.after_trial(task, ending, final))
        if added:
            self.progress.record_added(
                len(added), sum(new.spec.config.trainer.epochs for new in added)
            )
        self.scheduler.add(added)

    def _reuse(self, task: TrialTask, prior: PriorResult) -> None:
        """Use the known result of a task's key instead of training."""
        self.summary.reused += 1
        self.progress.record_skipped(1, task.spec.config.trainer.epochs)
        self._ledger.share_result(task)
        if task.source is None:
            assert prior.ending is not None
            self._follow_trial(task, prior.ending, prior.final)
