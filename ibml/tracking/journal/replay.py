"""One trial's journal on its way into its run."""

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
    """Delivers entries in their order. Any of them may be delivered again, after a failure or by another process:
    epochs that the run has are left out, and the same metrics with the same time are stored once.

    What belongs to a run that another driver has ended or taken over meanwhile is dropped, since the same key gives
    the same numbers. `own` says that this driver wrote the journal.
    """

    def __init__(self, store: MlflowStore, claims: Leases, own: bool):
        self.store, self.leases, self.own = store, claims, own
        self.run_id = ""
        self.dropped = self.ended = False
        self._epochs = 0
        self._rows: dict[int, MetricRow] = {}
        self._missed_renewals = 0

    def deliver(self, entries: Sequence[Event]) -> int:
        """Deliver the first entry, or the first ones where one call takes them; how many that were. Raises
        `TrackingError`, and the same entries are to be delivered again then."""
        rows: list[MetricsLogged] = []
        for entry in entries:
            if not isinstance(entry, MetricsLogged):
                break
            rows.append(entry)
        if rows:
            self._log_metrics(rows)
            return len(rows)
        self._deliver_one(entries[0])
        return 1

    def _deliver_one(self, entry: Event) -> None:
        match entry:
            case TrialStarted():
                self._start(entry)
            case ResultShared():
                with _ignore_deleted_run():
                    self.store.share_trial(entry.run_id, entry.study, entry.arm)
            case TrialPruned():
                with _ignore_deleted_run():
                    self.store.end_trial(
                        entry.run_id, TrialEnded("pruned", {}, {"ibml.reason": entry.reason}), 0
                    )
            case _ if self.dropped or self._is_lost():
                return
            case TagsUpdated():
                self.store.tag_run(self.run_id, entry.tags)
            case TrialEnded():
                self.store.end_trial(
                    self.run_id, entry, max(self._epochs - 1, 0), self._get_complete_history()
                )
                self.ended = True
            case TrialInterrupted():
                self.close()
                self.ended = True

    def close(self) -> None:
        """Nothing more comes: a trial that has not ended is marked as interrupted."""
        if self.run_id and not self.dropped and not self.ended:
            self.store.stop_trial(self.run_id)

    def _start(self, begin: TrialStarted) -> None:
        trial, self.run_id, self.ended = begin.trial, begin.run_id, False
        self._missed_renewals = self.leases.heartbeat.confirm()
        if not (self.own and self.run_id):
            claim = self.leases.claim(trial, assume_new=False)
            self.run_id, self.dropped = claim.run_id, not claim.run_id
            if claim.result:
                self._share_result(claim.result.run_id, trial)
        if not self.dropped:
            self._epochs = self.store.describe_trial(
                self.run_id, trial, self.run_id in self.leases.undescribed_runs
            )
            self.leases.undescribed_runs.discard(self.run_id)

    def _is_ours(self) -> bool:
        return self.store.read_tags(self.run_id).get(DRIVER_TAG) == self.leases.heartbeat.id

    def _is_lost(self) -> bool:
        """Whether the run has been taken over, which can only be where this driver gave no sign for long."""
        lapses = self.leases.heartbeat.confirm()
        if lapses != self._missed_renewals:
            self.dropped = not self._is_ours()
            self._missed_renewals = lapses
        return self.dropped

    def _share_result(self, run_id: str, trial: TrialDescription) -> None:
        for study, arm in parse_studies(trial.tags).items():
            self.store.share_trial(run_id, study, arm)

    def _log_metrics(self, entries: Sequence[MetricsLogged]) -> None:
        """All epochs are kept for the file that the trial ends with."""
        for entry in entries:
            self._rows |= {int(row["epoch"]): row for row in entry.rows}
        new = [
            (entry.at, row)
            for entry in entries
            for row in entry.rows
            if row["epoch"] >= self._epochs
        ]
        if new and not self.dropped and not self._is_lost():
            self.store.log_rows(self.run_id, new)
            self._epochs = int(new[-1][1]["epoch"]) + 1

    def _get_complete_history(self) -> list[MetricRow]:
        """The trial's epochs; none where the first are known to the store alone, as of a member of a population that
        was interrupted."""
        epochs = range(len(self._rows))
        return [self._rows[epoch] for epoch in epochs] if set(self._rows) == set(epochs) else []


@contextmanager
def _ignore_deleted_run() -> Iterator[None]:
    """Of a run that was deleted meanwhile nothing is left to say."""
    try:
        yield
    except TrackingError as error:
        if not error.refused:
            raise
