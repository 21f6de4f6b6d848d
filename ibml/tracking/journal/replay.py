"""Replay of one trial's journal into its MLflow run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ibml.records import MetricRow
from ibml.tracking.journal.events import (
    Event,
    MetricsLogged,
    ResultShared,
    TagsUpdated,
    TrialDescription,
    TrialEnded,
    TrialInterrupted,
    TrialPruned,
    TrialStarted,
)
from ibml.tracking.leases import Leases
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.trial_reader import DRIVER_TAG
from ibml.tracking.store.uri import TrackingError
from ibml.tracking.study_tags import parse_studies


class Replay:
    """Writes the events of one trial to the store, in their order.

    Events may be written again, after a failure or by another process: epochs that the run already
    has are skipped, and MLflow stores the same metrics with the same time once.

    Events of a run that another driver has ended or taken over in the meantime are dropped. Nothing
    is lost, because the same key produces the same numbers.

    Args:
        store: Store to write to.
        leases: Leases of this driver.
        own: True if this driver wrote the journal.

    Attributes:
        run_id: Run of the trial, once it is known.
        dropped: True if the run belongs to another driver.
        ended: True if the trial has ended or was interrupted.
    """

    def __init__(self, store: MlflowStore, leases: Leases, own: bool):
        self.store = store
        self.leases = leases
        self.own = own
        self.run_id = ""
        self.dropped = False
        self.ended = False
        self._logged_epochs = 0
        self._rows: dict[int, MetricRow] = {}
        self._missed_renewals = 0

    def deliver(self, events: Sequence[Event]) -> int:
        """Write the first event, or a leading group of events that one call can write.

        Args:
            events: Pending events of the trial, at least one.

        Returns:
            The number of events that were written or dropped.

        Raises:
            TrackingError: The store did not take the events; deliver the same events again.
        """
        logged: list[MetricsLogged] = []
        for event in events:
            if not isinstance(event, MetricsLogged):
                break
            logged.append(event)
        if logged:
            self._log_metrics(logged)
            return len(logged)
        self._deliver_one(events[0])
        return 1

    def _deliver_one(self, event: Event) -> None:
        match event:
            case TrialStarted():
                self._start(event)
            case ResultShared():
                with _ignore_deleted_run():
                    self.store.share_trial(event.run_id, event.study, event.arm)
            case TrialPruned():
                with _ignore_deleted_run():
                    end = TrialEnded("pruned", {}, {"ibml.reason": event.reason})
                    self.store.end_trial(event.run_id, end, 0)
            case _ if self.dropped or self._is_lost():
                return
            case TagsUpdated():
                self.store.tag_run(self.run_id, event.tags)
            case TrialEnded():
                last_epoch = max(self._logged_epochs - 1, 0)
                self.store.end_trial(self.run_id, event, last_epoch, self._get_complete_history())
                self.ended = True
            case TrialInterrupted():
                self.close()
                self.ended = True

    def close(self) -> None:
        """Mark a trial that has not ended as interrupted; no further events follow."""
        if self.run_id and not self.dropped and not self.ended:
            self.store.stop_trial(self.run_id)

    def _start(self, event: TrialStarted) -> None:
        trial = event.trial
        self.run_id = event.run_id
        self.ended = False
        self._missed_renewals = self.leases.heartbeat.confirm()
        if not (self.own and self.run_id):
            lease = self.leases.claim(trial, assume_new=False)
            self.run_id = lease.run_id
            self.dropped = not lease.run_id
            if lease.result:
                self._share_result(lease.result.run_id, trial)
        if not self.dropped:
            is_bare = self.run_id in self.leases.undescribed_runs
            self._logged_epochs = self.store.describe_trial(self.run_id, trial, is_bare)
            self.leases.undescribed_runs.discard(self.run_id)

    def _is_ours(self) -> bool:
        return self.store.read_tags(self.run_id).get(DRIVER_TAG) == self.leases.heartbeat.id

    def _is_lost(self) -> bool:
        """Return whether another driver has taken over the run.

        That is possible only if this driver has missed renewals of its heartbeat.
        """
        missed = self.leases.heartbeat.confirm()
        if missed != self._missed_renewals:
            self.dropped = not self._is_ours()
            self._missed_renewals = missed
        return self.dropped

    def _share_result(self, run_id: str, trial: TrialDescription) -> None:
        for study, arm in parse_studies(trial.tags).items():
            self.store.share_trial(run_id, study, arm)

    def _log_metrics(self, events: Sequence[MetricsLogged]) -> None:
        """Log the epochs that the run does not have yet, and keep all epochs for its final file."""
        new_rows = []
        for event in events:
            for row in event.rows:
                self._rows[int(row["epoch"])] = row
                if row["epoch"] >= self._logged_epochs:
                    new_rows.append((event.at, row))
        if new_rows and not self.dropped and not self._is_lost():
            self.store.log_rows(self.run_id, new_rows)
            _, last_row = new_rows[-1]
            self._logged_epochs = int(last_row["epoch"]) + 1

    def _get_complete_history(self) -> list[MetricRow]:
        """Return the rows of all epochs, or an empty list if the first epochs are missing.

        They are missing for an interrupted member of a population: only the store has them.
        """
        epochs = range(len(self._rows))
        if set(self._rows) != set(epochs):
            return []
        return [self._rows[epoch] for epoch in epochs]


@contextmanager
def _ignore_deleted_run() -> Iterator[None]:
    """Ignore the error of a run that was deleted in the meantime."""
    try:
        yield
    except TrackingError as error:
        if not error.refused:
            raise
