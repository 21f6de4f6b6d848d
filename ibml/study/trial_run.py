"""A trial as a run in the store."""

from __future__ import annotations

from typing import Any

from ibml.config.records import Status, TrialRecord
from ibml.config.trial import TrialConfig, canonical, flatten
from ibml.study.cells import Cell
from ibml.study.keys import trial_shape
from ibml.study.trials import PlannedTrial
from ibml.tracking.mlflow_store import MlflowStore, TrialDescription
from ibml.tracking.uri import TrackingError


class TrialRun:
    """One trial's run in the store. The calls belong in this order: start, log, then end or stop.

    Rows that the store did not take go with the next call, and a trial is a result only when all are in.
    """

    def __init__(self, store: MlflowStore):
        self.store = store
        self.id = ""
        self.epochs = 0
        self.unsent: list[dict[str, float]] = []
        self.rows: dict[int, dict[str, float]] = {}
        self.ended = False

    def start(self, trial: PlannedTrial, parent: str | None, tags: dict[str, str], known: TrialRecord | None) -> None:
        """Begin a run, or go on with the known one. Another study may have ended that meanwhile: then it only becomes
        part of this study too, and nothing more is written."""
        study = {f"ibml.study.{tags['ibml.study']}": trial.cell.arm} if "ibml.study" in tags else {}
        all_tags = {
            **tags,
            **study,
            "ibml.key": trial.key,
            "ibml.arm": trial.cell.arm,
            "ibml.dataset": trial.cell.dataset,
            "ibml.seed": str(trial.config.seed),
            "ibml.data": trial.fingerprint,
            "ibml.shape": trial_shape(trial.config),
        }
        config = trial.config.model_dump(mode="json")
        described = TrialDescription(trial.name, parameters(trial.cell, trial.config), all_tags, config)
        if known is None:
            self.id = self.store.start_trial(described, parent)
            return
        self.ended = self.store.trial(known.run_id).ended
        if not self.ended:
            self.epochs = self.store.resume_trial(known.run_id, described, parent)
        elif "ibml.study" in tags:
            self.store.share_trial(known.run_id, tags["ibml.study"], trial.cell.arm)
        self.id = known.run_id

    def log(self, rows: list[dict[str, float]]) -> None:
        """Log the rows that an interrupted attempt has not logged; the same key gives the same numbers. All are kept
        for the file that the trial ends with."""
        if self.ended:
            return
        self.rows |= {int(row["epoch"]): row for row in rows}
        self.unsent += [row for row in rows if row["epoch"] >= self.epochs]
        self._send()

    def tag(self, tags: dict[str, str]) -> None:
        """Say what has changed since the start."""
        if self.id and not self.ended:
            self.store.tag_trial(self.id, tags)

    def end(self, status: Status, metrics: dict[str, float], tags: dict[str, str], log: str | None = None) -> None:
        if self.ended:
            return
        self._send()
        self.store.end_trial(self.id, status, metrics, max(self.epochs - 1, 0), tags, log, self._all_rows())

    def stop(self) -> None:
        if not self.ended:
            self._send()
            self.store.stop_trial(self.id)

    def _all_rows(self) -> list[dict[str, float]]:
        """The trial's epochs; none where the first are known to the store alone, as of a member of a population that
        was interrupted."""
        return [self.rows[epoch] for epoch in sorted(self.rows)] if set(self.rows) == set(range(len(self.rows))) else []

    def _send(self) -> None:
        if not self.id:
            raise TrackingError("a trial's run could not be begun, so the trial is not recorded")
        if self.unsent:
            self.store.log_rows(self.id, self.unsent)
            self.epochs = int(self.unsent[-1]["epoch"]) + 1
            self.unsent = []


def parameters(cell: Cell, config: TrialConfig) -> dict[str, Any]:
    """What MLflow shows of a trial: arm, seed and data set, what sets the arm apart, then the rest."""
    flat = flatten(canonical(config))
    first = {"arm": cell.arm, "seed": config.seed, "dataset": cell.dataset}
    apart = {path: flat[path] for path in cell.changes if path in flat}
    return first | apart | flat
