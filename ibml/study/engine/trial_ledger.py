"""What the store knows about trials, and which trials this driver has claimed."""

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
"""Interval at which trials of other drivers are looked up in the store."""


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
        """Keys of trials that continue as another task."""
        self._polled, self._warned = 0.0, False

    def get_prior_result(self, task: TrialTask) -> PriorResult | None:
        """Return what the store has of a task's key."""
        record = self._known.get(task.key)
        return find_prior_result(task, record, self.session.store) if record else None

    def claim(self, task: TrialTask) -> bool:
        """Return whether the trial is this driver's to train.

        A result that another driver has written meanwhile becomes known. If it lacks what a search needs, the trial is
        trained again, and not recorded a second time.
        """
        key = task.key
        if task in self._claimed:
            return True  # it is trained again after a fault
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
        """Release a task that has ended.

        Args:
            task: The task.
            continues: Whether its trial continues as another task, after an interval of a population.
        """
        self._claimed.remove(task)
        if continues:
            self._between_intervals.add(task.key)

    def interrupt_claimed(self) -> None:
        """Record that the trials that are claimed were interrupted."""
        for key in (*(task.key for task in self._claimed), *self._between_intervals):
            self.session.add(key, TrialInterrupted())

    def share_result(self, task: TrialTask) -> None:
        """Record that a known result belongs to the task's study too."""
        record, study = self._known.get(task.key), task.tags.get("ibml.study")
        if record is None:
            return
        if task.trial_run and task.trial_run.pruned and not record.ended:
            self.session.add(task.key, TrialPruned(record.run_id, task.trial_run.pruned))
        if study and record.ended and study not in record.studies:
            self.session.add(task.key, ResultShared(record.run_id, study, task.spec.cell.arm))

    def find_released(self, deferred: Iterable[TrialTask]) -> list[TrialTask]:
        """Return the tasks that other drivers have ended or abandoned; the store is asked every few seconds."""
        waiting, writer = list(deferred), self.session.writer
        if not waiting or time.monotonic() - self._polled < _POLL_SECONDS:
            return []
        if writer.down and writer.pending_count:
            return []  # the writer tries the store; if it has nothing to write, this look-up does
        if not self._warned:
            self._warned = True
            self.session.say(
                f"{len(waiting)} trials are being run by another driver; waiting for them."
            )
        try:
            self.session.deliver_abandoned_journals()  # of a driver that has ended meanwhile
            found = self.session.store.results({task.key for task in waiting})
            others = self.session.heartbeat.list_peers()
        except TrackingError as error:
            writer.failed(error)
            return []
        finally:
            self._polled = time.monotonic()
        writer.answered()
        self._known |= {key: record for key, record in found.items() if record.ended}
        held = {
            key for key, record in found.items() if not record.ended and record.driver in others
        }
        return [task for task in waiting if task.key not in held]
