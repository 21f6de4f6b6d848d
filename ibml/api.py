"""ibml from Python: `train`, `ablate` and `table`. The command line is a thin layer over these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ibml.config.trial import TrialConfig

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from ibml.config.records import StudyRecord
    from ibml.report.table import Table
    from ibml.study.outcome import Outcome
    from ibml.study.plan import Plan, StudySource
    from ibml.tracking.mlflow_store import MlflowStore
    from ibml.training.trainer import TrialResult


@dataclass(frozen=True)
class Ablation:
    """A study that was run: its table, how the run went, and the id of its MLflow run."""

    table: Table
    outcome: Outcome
    run_id: str


def train(config: TrialConfig) -> TrialResult:
    """Train one trial in this process, without Ray and without MLflow."""
    from ibml.training.trainer import train as train_trial

    return train_trial(config)


def ablate(
    source: StudySource,
    overrides: Iterable[str] = (),
    *,
    seeds: int | None = None,
    tracking_uri: str | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> Ablation:
    """Run a study file, or a mapping of the same form, and make its table.

    Trials whose result the store has already are not run. `overrides` are `path=value` texts, `seeds` takes
    the place of the study's; progress goes to `console`, and nowhere without one. Raises `ConfigError` before
    anything runs, `ClusterError` where Ray cannot be had and `TrackingError` where the store cannot.
    """
    from ibml.study.plan import load_plan

    return run_plan(load_plan(source, overrides, seeds), tracking_uri, address, console)


def run_plan(plan: Plan, tracking_uri: str | None, address: str | None, console: Console | None) -> Ablation:
    """Run a plan that is loaded already; see `ablate`."""
    from rich.console import Console

    from ibml.study.ablation import run_study
    from ibml.study.trials import planned_trials, study_record

    store = open_store(tracking_uri)
    trials = planned_trials(plan)
    record = study_record(plan, trials)
    with store.open_study(record, plan.text) as opened:
        outcome = run_study(plan, trials, store, opened.run_id, address, console or Console(quiet=True))
        made = _table(store, record)
        opened.files = _table_files(made)
        opened.status = "KILLED" if outcome.interrupted else "FAILED" if made.unfinished else "FINISHED"
    return Ablation(made, outcome, opened.run_id)


def table(study: str | Path, tracking_uri: str | None = None) -> pd.DataFrame:
    """The table of a study, by name or by its file: one row per data set, arm and metric."""
    return study_table(str(study), tracking_uri).frame()


def study_table(study: str, tracking_uri: str | None = None) -> Table:
    """The table of a study as it stands. For a file it is that file's study, as it is written now."""
    store = open_store(tracking_uri, to_read=True)
    if not study.endswith((".yaml", ".yml")):
        return _table(store, store.study(study))
    from ibml.study.plan import load_plan
    from ibml.study.trials import planned_trials, study_record

    plan = load_plan(study)
    return _table(store, study_record(plan, planned_trials(plan)))


def open_store(tracking_uri: str | None, to_read: bool = False) -> MlflowStore:
    """The store at a URI; without one, at `MLFLOW_TRACKING_URI` or in the working folder. A database that is not
    there is made, except where it is to be read."""
    from ibml.tracking.mlflow_store import MlflowStore
    from ibml.tracking.uri import TrackingError, choose_uri, database_file

    uri = choose_uri(tracking_uri)
    database = database_file(uri)
    if to_read and database and not database.is_file():
        raise TrackingError(f"nothing was run here yet: there is no {database}")
    return MlflowStore(uri)


def _table(store: MlflowStore, record: StudyRecord) -> Table:
    from ibml.report.table import build_table

    return build_table(record, store.results())


def _table_files(made: Table) -> dict[str, str]:
    from ibml.report.render import EXTENSIONS, render

    return {f"table.{extension}": render(made, form) for form, extension in EXTENSIONS.items()}
