"""Runs what a plan lacks and leaves its record in the store."""

from __future__ import annotations

from rich.console import Console

from ibml.config.records import TrialRecord
from ibml.study.cluster import ray_environment
from ibml.study.outcome import Outcome
from ibml.study.plan import Plan
from ibml.study.progress import StudyProgress
from ibml.study.trials import PlannedTrial
from ibml.tracking.mlflow_store import MlflowStore
from ibml.version import code_revision


def run_study(
    plan: Plan, trials: list[PlannedTrial], store: MlflowStore, run_id: str, address: str | None, console: Console
) -> Outcome:
    """Run the trials of a plan that have no result in the store yet, below the study's run.

    Raises `ClusterError` and `TrackingError`.
    """
    known = store.results()
    unique = {trial.key: trial for trial in trials}
    todo = [trial for key, trial in unique.items() if key not in known or not known[key].ended]
    _share(plan.study.name, trials, known, store)
    reused = len(unique) - len(todo)
    if reused:
        console.print(f"{reused} of {len(unique)} trials have a result already and are not run again.", highlight=False)
    outcome = _run(plan, todo, known, store, run_id, address, console) if todo else Outcome()
    outcome.reused = reused
    return outcome


def _run(
    plan: Plan,
    todo: list[PlannedTrial],
    known: dict[str, TrialRecord],
    store: MlflowStore,
    run_id: str,
    address: str | None,
    console: Console,
) -> Outcome:
    epochs = sum(trial.config.trainer.epochs for trial in todo)
    progress = StudyProgress(console, len(todo), epochs)
    tags = {"ibml.study": plan.study.name, "ibml.revision": code_revision()}
    with ray_environment(address):
        from ibml.study.runner import Reporter, run_trials

        reporter = Reporter(todo, known, store, run_id, tags, progress)
        return run_trials(plan.study, [trial.config for trial in todo], reporter, address)


def _share(study: str, trials: list[PlannedTrial], known: dict[str, TrialRecord], store: MlflowStore) -> None:
    """Mark results that another study has made as part of this one too."""
    for trial in trials:
        result = known.get(trial.key)
        if result and result.ended and study not in result.studies:
            store.share_trial(result.run_id, study, trial.cell.arm)
