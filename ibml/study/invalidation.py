"""Invalidation of results that a run with `--rerun` trains again."""

from __future__ import annotations

from collections.abc import Mapping

from ibml.common.processes.interruption import raise_if_stop_requested
from ibml.records import StudyRecord, TrialRecord
from ibml.tracking.session import Session
from ibml.training.checkpoint_retention import remove_checkpoints


def invalidate_results(
    session: Session, study: StudyRecord, known: Mapping[str, TrialRecord]
) -> dict[str, TrialRecord]:
    """Delete the MLflow runs and the checkpoints of a study's trials.

    MLflow can restore deleted runs. Results that another driver trains or has trained again are
    kept. An interrupted run with `--rerun` is resumed by the same command without `--rerun`.

    Args:
        session: The driver's session on the store.
        study: The study whose trials are invalidated.
        known: Records of earlier trials, by key.

    Returns:
        The records in `known` that are still valid.

    Raises:
        TrackingError: If the store is not available.
    """
    keys = {trial.key for trial in study.trials} & known.keys()
    old = {record.run_id for record in session.store.trials()}
    peers = session.heartbeat.list_peers()
    invalidated = []
    for key in sorted(keys):
        raise_if_stop_requested()
        runs = session.store.find_runs(key)
        if any(run_id not in old or run.driver in peers for run_id, run in runs.items()):
            continue  # another driver is training the trial, or has trained it again
        for run_id in runs:
            session.store.delete_run(run_id)
        remove_checkpoints(session.workspace.trial(key), "none")
        invalidated.append(key)
    if invalidated:
        session.say(
            f"{len(invalidated)} results will be computed again;"
            " their old runs are deleted in MLflow and can be restored there."
        )
    return {key: record for key, record in known.items() if key not in invalidated}
