"""Who trains a trial: no key is trained by two drivers at once.

MLflow has no operation that only one of two can do, but what one has written the other reads. So a driver writes its
claim and then looks: where it sees another's, it takes its own back. Of two that claim at the same time each may have
seen the other, and then neither has it; they look again after a moment by chance. A driver that has met no other since
it read the store need only look whether one has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ibml.records import TrialRecord
from ibml.tracking.heartbeat import Heartbeat
from ibml.tracking.journal.events import TrialDescription
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.trial_reader import DRIVER_TAG

_CLAIM = "ibml.claim."


@dataclass(frozen=True)
class Lease:
    """The trial's run, if it is ours now; else the driver that has it, or the result that is there already."""

    run_id: str = ""
    holder: str = ""
    result: TrialRecord | None = None


class Leases:
    """Leases of a driver on trials. Every method raises `TrackingError`."""

    def __init__(self, store: MlflowStore, presence: Heartbeat):
        self.store, self.heartbeat = store, presence
        self.undescribed_runs: set[str] = set()
        """Runs that this driver has made and that show nothing but their tags yet."""
        self._made: set[str] = set()  # keys for which there is a run since the store was read

    def claim(self, trial: TrialDescription, assume_new: bool) -> Lease:
        """Lease a trial for this driver, in the run that was begun for it or in a new one. `assume_new` says that its key
        had no run when the store was read, so that it is not looked for where no other driver is at work."""
        self.heartbeat.confirm()
        if assume_new and (not self.heartbeat.has_peers or not self.heartbeat.list_peers()):
            return self._claim_new_run(trial)
        runs = self.store.find_runs(trial.key)
        return self._claim_existing_run(runs) if runs else self._claim_new_run(trial)

    def _claim_new_run(self, trial: TrialDescription) -> Lease:
        first = trial.key not in self._made
        self._made.add(trial.key)
        mine = self.store.create_trial(trial, self.heartbeat.id)
        if first and not self.heartbeat.detect_peers():
            self.undescribed_runs.add(mine)
            return Lease(mine)
        others = {
            run_id: run for run_id, run in self.store.find_runs(trial.key).items() if run_id != mine
        }
        if not others:
            return Lease(mine)
        self.store.delete_run(mine)
        return self._claim_existing_run(others)

    def _claim_existing_run(self, runs: Mapping[str, TrialRecord]) -> Lease:
        """In the oldest of a key's runs, unless one has a result or is another driver's."""
        taken = self._find_conflict(runs)
        if taken:
            return taken
        run_id, tag = next(iter(runs)), _CLAIM + self.heartbeat.id
        self.store.tag_run(run_id, {tag: "claimed"})
        tags = self.store.read_tags(run_id)
        claimed = [name.removeprefix(_CLAIM) for name in tags if name.startswith(_CLAIM)]
        for driver in (*claimed, tags.get(DRIVER_TAG, "")):
            if driver not in ("", self.heartbeat.id):
                if self.heartbeat.is_alive(driver):
                    self.store.remove_tag(run_id, tag)
                    return Lease(holder=driver)
                if driver in claimed:
                    self.store.remove_tag(run_id, _CLAIM + driver)
        self.store.tag_run(run_id, {DRIVER_TAG: self.heartbeat.id})
        self.store.remove_tag(run_id, tag)
        for other, run in runs.items():
            if other != run_id and run.status == "running" and not run.metrics:
                self.store.delete_run(
                    other
                )  # the answer to the call that made it was lost, so that it was made again
        return Lease(run_id)

    def _find_conflict(self, runs: Mapping[str, TrialRecord]) -> Lease | None:
        """The result that one of the runs has, or the driver that trains in one of them."""
        for run in runs.values():
            if run.ended:
                return Lease(result=run)
        for run in runs.values():
            if (
                run.driver
                and run.driver != self.heartbeat.id
                and self.heartbeat.is_alive(run.driver)
            ):
                return Lease(holder=run.driver)
        return None
