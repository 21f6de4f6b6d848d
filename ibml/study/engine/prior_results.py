"""Results of earlier runs, in the form that the scheduler takes."""

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
    """The result of a task's key, and for a search the epochs; nothing where what the search looks at is not all
    there, so that the trial is trained again, to the same numbers."""
    ending: Ending | None = (
        "diverged" if record.status == "diverged" else "finished" if record.ended else None
    )
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
    if ending == "diverged" and not (rows and not math.isfinite(rows[-1]["val.loss"])):
        rows = [
            *rows,
            {"epoch": float(len(rows)), "val.loss": math.nan},
        ]  # the epoch that ended it has no more
    return PriorResult(rows, ending, record.metrics, record.reason)
