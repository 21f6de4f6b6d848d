"""A trial as a run in the store."""

from __future__ import annotations

from typing import Any

from ibml.config.records import Status, TrialRecord
from ibml.config.trial import TrialConfig, canonical, flatten
from ibml.study.cells import Cell
from ibml.study.trials import PlannedTrial
from ibml.tracking.mlflow_store import MlflowStore


class TrialRun:
    """One trial's run in the store. The calls belong in this order: start, log, then end or stop."""

    def __init__(self, store: MlflowStore):
        self.store = store
        self.id = ""
        self.epochs = 0

    def start(self, trial: PlannedTrial, parent: str | None, tags: dict[str, str], known: TrialRecord | None) -> None:
        own = {
            "ibml.key": trial.key,
            "ibml.arm": trial.cell.arm,
            "ibml.dataset": trial.cell.dataset,
            "ibml.seed": str(trial.config.seed),
            "ibml.data": trial.fingerprint,
        }
        if "ibml.study" in tags:
            own[f"ibml.study.{tags['ibml.study']}"] = trial.cell.arm
        if known:
            self.id, self.epochs = self.store.resume_trial(known.run_id, parent, {**tags, **own})
        else:
            config = trial.config.model_dump(mode="json")
            params = parameters(trial.cell, trial.config)
            self.id = self.store.start_trial(trial.name, parent, params, {**tags, **own}, config)

    def log(self, rows: list[dict[str, float]]) -> None:
        """Log the rows that an interrupted attempt has not logged; the same key gives the same numbers."""
        fresh = [row for row in rows if row["epoch"] >= self.epochs]
        if fresh:
            self.store.log_rows(self.id, fresh)
            self.epochs = int(fresh[-1]["epoch"]) + 1

    def end(self, status: Status, metrics: dict[str, float], reason: str, log: str | None = None) -> None:
        self.store.end_trial(self.id, status, metrics, max(self.epochs - 1, 0), reason, log)

    def stop(self) -> None:
        self.store.stop_trial(self.id)


def parameters(cell: Cell, config: TrialConfig) -> dict[str, Any]:
    """What MLflow shows of a trial: arm, seed and data set, what sets the arm apart, then the rest."""
    flat = flatten(canonical(config))
    first = {"arm": cell.arm, "seed": config.seed, "dataset": cell.dataset}
    apart = {path: flat[path] for path in cell.changes if path in flat}
    return first | apart | flat
