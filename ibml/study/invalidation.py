"""`--rerun`: results that are to be made anew."""

from __future__ import annotations

from collections.abc import Mapping

from ibml.common.processes.interruption import raise_if_stop_requested
from ibml.records import StudyRecord, TrialRecord
from ibml.tracking.session import Session
from ibml.training.checkpoint_retention import remove_checkpoints


def invalidate_results(
    session: Session, study: StudyRecord, known: Mapping[str, TrialRecord]
) -> dict[str, TrialRecord]:
    """Delete the runs of a study's trials, which MLflow can restore, and what was kept of them on disk; gives what is
    known then. Whatever is interrupted from then on goes on without `--rerun`. Raises `TrackingError`."""
    keys = {trial.key for trial in study.trials} & known.keys()
    old = {record.run_id for record in session.store.trials()}
    others, again = session.heartbeat.list_peers(), []
    for key in sorted(keys):
        raise_if_stop_requested()
        runs = session.store.find_runs(key)
        if any(run_id not in old or run.driver in others for run_id, run in runs.items()):
            continue  # another driver trains it, or has made it anew since
        for run_id in runs:
            session.store.delete_run(run_id)
        remove_checkpoints(session.workspace.trial(key), "none")
        again.append(key)
    if again:
        session.say(
            f"{len(again)} results are made anew; their old runs are deleted in MLflow and can be restored there."
        )
    return {key: record for key, record in known.items() if key not in again}
