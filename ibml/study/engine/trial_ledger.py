"""Ledger of a driver: known results of trials, and trials that it has claimed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from ibml.records import TrialRecord
from ibml.study.engine.prior_results import find_prior_result
from ibml.study.engine.run_metadata import build_trial_description
from ibml.study.engine.tasks import PriorResult, TrialTask
from ibml.tracking.journal.events import (
    ResultShared,
    TagsUpdated,
    TrialInterrupted,
    TrialPruned,
    TrialStarted,
)
from ibml.tracking.session import Session
from ibml.tracking.store.uri import TrackingError

_POLL_SECONDS = 2.0
"""Interval at which the store is polled for trials of other drivers."""


class TrialLedger:
    """Known results and claimed trials of one driver.

    Args:
        session: The driver's session on the store.
        known: Records of earlier trials, by key.
    """

    def __init__(self, session: Session, known: Mapping[str, TrialRecord]):
        self.session = session
        self._known = dict(known)
        self._claimed: set[TrialTask] = set()
        self._between_intervals: set[str] = set()
        """Keys of trials whose next interval is a new task."""
        self._polled, self._warned = 0.0, False

    def get_prior_result(self, task: TrialTask) -> PriorResult | None:
        """Return the stored result of a task's key, if any."""
        record = self._known.get(task.key)
        return find_prior_result(task, record, self.session.store) if record else None

    def claim(self, task: TrialTask) -> bool:
        """Claim a trial for this driver.

        If another driver has recorded a result in the meantime, the result becomes known. If that
        result lacks metrics that a search needs, the trial is trained without being recorded again.

        Args:
            task: The task of the trial.

        Returns:
            True if this driver must train the trial.
        """
        key = task.key
        if task in self._claimed:
            return True  # retry after a fault
        if key in self._between_intervals:
            self._between_intervals.remove(key)
            self._claimed.add(task)
            self.session.add(key, TagsUpdated(task.tags))
            return True
        trial = build_trial_description(task.spec, task.parent, task.tags)
        lease = self.session.claim(trial, self._known.get(key))
        if lease and lease.result:
            self._known[key] = lease.result
        if (
            lease
            and not lease.run_id
            and not (lease.result and self.get_prior_result(task) is None)
        ):
            return False
        self._claimed.add(task)
        self.session.add(key, TrialStarted(trial, lease.run_id if lease else ""))
        return True

    def release(self, task: TrialTask, continues: bool = False) -> None:
        """Release the claim of a task that has ended.

        Args:
            task: The task.
            continues: True if its trial continues as another task, with the next interval.
        """
        self._claimed.remove(task)
        if continues:
            self._between_intervals.add(task.key)

    def interrupt_claimed(self) -> None:
        """Record that all claimed trials were interrupted."""
        for key in (*(task.key for task in self._claimed), *self._between_intervals):
            self.session.add(key, TrialInterrupted())

    def share_result(self, task: TrialTask) -> None:
        """Record that a known result also belongs to the task's study."""
        record, study = self._known.get(task.key), task.tags.get("ibml.study")
        if record is None:
            return
        if task.trial_run and task.trial_run.pruned and not record.ended:
            self.session.add(task.key, TrialPruned(record.run_id, task.trial_run.pruned))
        if study and record.ended and study not in record.studies:
            self.session.add(task.key, ResultShared(record.run_id, study, task.spec.cell.arm))

    def find_released(self, deferred: Iterable[TrialTask]) -> list[TrialTask]:
        """Return the deferred tasks that other drivers have finished or abandoned.

        The store is polled at most every few seconds.

        Args:
            deferred: Tasks that other drivers are training.

        Returns:
            Tasks to reconsider; empty between two polls.
        """
        waiting, writer = list(deferred), self.session.writer
        if not waiting or time.monotonic() - self._polled < _POLL_SECONDS:
            return []
        if writer.down and writer.pending_count:
            return []  # the writer is already retrying the store
        if not self._warned:
            self._warned = True
            self.session.say(
                f"{len(waiting)} trials are being run by another driver; waiting for them."
            )
        try:
            self.session.deliver_abandoned_journals()  # results of drivers that have ended
            found = self.session.store.results({task.key for task in waiting})
            peers = self.session.heartbeat.list_peers()
        except TrackingError as error:
            writer.failed(error)
            return []
        finally:
            self._polled = time.monotonic()
        writer.answered()
        self._known |= {key: record for key, record in found.items() if record.ended}
        held = set()
        for key, record in found.items():
            if not record.ended and record.driver in peers:
                held.add(key)
        return [task for task in waiting if task.key not in held]
