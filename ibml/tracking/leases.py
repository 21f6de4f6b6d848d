"""Leases on trials: no key is trained by two drivers at once.

MLflow has no compare-and-set, but writes are visible to all clients. A driver therefore writes a
claim and then reads: if another driver has claimed too, it withdraws. Of two drivers that claim at
the same time, both may withdraw; each tries again after a random delay. A driver without peers
skips the search for runs and only checks whether a new driver has registered.
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
    """Outcome of a claim. Exactly one attribute is set.

    Attributes:
        run_id: Run of the trial, if this driver holds the lease.
        holder: Id of the driver that holds the lease.
        result: Existing result of the trial.
    """

    run_id: str = ""
    holder: str = ""
    result: TrialRecord | None = None


class Leases:
    """Leases of one driver on trials.

    Args:
        store: Store with the runs of trials.
        heartbeat: Heartbeat of this driver.

    Attributes:
        undescribed_runs: Runs that this driver has created and that have only tags so far.
    """

    def __init__(self, store: MlflowStore, heartbeat: Heartbeat):
        self.store = store
        self.heartbeat = heartbeat
        self.undescribed_runs: set[str] = set()
        self._created_keys: set[str] = set()  # keys that got a run since the store was read

    def claim(self, trial: TrialDescription, assume_new: bool) -> Lease:
        """Lease a trial for this driver, in an existing run of its key or in a new one.

        Args:
            trial: Trial to lease.
            assume_new: True if the key had no run when the store was read. Existing runs are then
                searched only if this driver has peers.

        Returns:
            This driver's lease, the driver that holds the lease, or the existing result.

        Raises:
            TrackingError: The store cannot be read or written.
        """
        self.heartbeat.confirm()
        if assume_new and (not self.heartbeat.has_peers or not self.heartbeat.list_peers()):
            return self._claim_new_run(trial)
        runs = self.store.find_runs(trial.key)
        return self._claim_existing_run(runs) if runs else self._claim_new_run(trial)

    def _claim_new_run(self, trial: TrialDescription) -> Lease:
        is_first_run = trial.key not in self._created_keys
        self._created_keys.add(trial.key)
        run_id = self.store.create_trial(trial, self.heartbeat.id)
        if is_first_run and not self.heartbeat.detect_peers():
            self.undescribed_runs.add(run_id)
            return Lease(run_id)
        others = self.store.find_runs(trial.key)
        others.pop(run_id, None)
        if not others:
            return Lease(run_id)
        self.store.delete_run(run_id)
        return self._claim_existing_run(others)

    def _claim_existing_run(self, runs: Mapping[str, TrialRecord]) -> Lease:
        """Claim the oldest run of a key, unless a run has a result or a living driver trains it."""
        conflict = self._find_conflict(runs)
        if conflict:
            return conflict
        run_id = next(iter(runs))
        claim_tag = _CLAIM + self.heartbeat.id
        self.store.tag_run(run_id, {claim_tag: "claimed"})
        tags = self.store.read_tags(run_id)
        claimants = [name.removeprefix(_CLAIM) for name in tags if name.startswith(_CLAIM)]
        for driver in (*claimants, tags.get(DRIVER_TAG, "")):
            if driver in ("", self.heartbeat.id):
                continue
            if self.heartbeat.is_alive(driver):
                self.store.remove_tag(run_id, claim_tag)
                return Lease(holder=driver)
            if driver in claimants:
                self.store.remove_tag(run_id, _CLAIM + driver)
        self.store.tag_run(run_id, {DRIVER_TAG: self.heartbeat.id})
        self.store.remove_tag(run_id, claim_tag)
        self._delete_duplicates(run_id, runs)
        return Lease(run_id)

    def _delete_duplicates(self, run_id: str, runs: Mapping[str, TrialRecord]) -> None:
        """Delete empty runs other than `run_id`.

        They exist if MLflow's response to the creation of a run was lost and the call repeated.
        """
        for other, run in runs.items():
            if other != run_id and run.status == "running" and not run.metrics:
                self.store.delete_run(other)

    def _find_conflict(self, runs: Mapping[str, TrialRecord]) -> Lease | None:
        """Return the result of one of the runs, or the living driver that trains one of them."""
        for run in runs.values():
            if run.ended:
                return Lease(result=run)
        for run in runs.values():
            is_foreign = run.driver and run.driver != self.heartbeat.id
            if is_foreign and self.heartbeat.is_alive(run.driver):
                return Lease(holder=run.driver)
        return None
