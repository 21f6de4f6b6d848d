"""Conversion of recorded results to prior results for the scheduler."""

from __future__ import annotations

import math

from ibml.records import TrialRecord
from ibml.search.objective_values import list_needed_metrics
from ibml.search.search import Ending
from ibml.study.engine.tasks import PriorResult, TrialTask
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.uri import TrackingError


def find_prior_result(
    task: TrialTask, record: TrialRecord, store: MlflowStore
) -> PriorResult | None:
    """Return the prior result of a task's key, for searches with its epochs.

    Args:
        task: The task.
        record: The record with the task's key.
        store: The MLflow store, which has the metrics per epoch.

    Returns:
        The result; None if metrics that the search needs are missing. The trial is trained again
        then, with identical results.
    """
    ending: Ending | None = None
    if record.status == "diverged":
        ending = "diverged"
    elif record.ended:
        ending = "finished"
    if task.source is None:
        return PriorResult([], ending, record.metrics)
    selection = task.spec.config.trainer.selection
    try:
        rows = store.read_history(
            record.run_id, list_needed_metrics(task.source.search.config, selection)
        )
    except TrackingError:
        rows = []
    if ending == "finished" and len(rows) < task.spec.config.trainer.epochs:
        return None
    if ending == "diverged" and (not rows or math.isfinite(rows[-1]["val.loss"])):
        # MLflow has no metrics of the epoch in which the trial diverged.
        rows = [*rows, {"epoch": float(len(rows)), "val.loss": math.nan}]
    return PriorResult(rows, ending, record.metrics, record.reason)
