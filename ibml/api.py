"""ibml from Python: `train`, `tune`, `ablate` and `table`. The command line is a thin layer over these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ibml.config.trial import TrialConfig

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from ibml.config.records import SearchRecord, StudyRecord
    from ibml.report.table import Table
    from ibml.search.plan import SearchPlan, SpaceSource
    from ibml.study.outcome import Outcome
    from ibml.study.plan import Plan, StudySource
    from ibml.study.tuning import Tuned
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
    storage: str | None = None,
    address: str | None = None,
    console: Console | None = None,
    new_version: bool = False,
    allow_mixed: bool = False,
) -> Ablation:
    """Run a study file, or a mapping of the same form, and make its table.

    Trials whose result the store has already are not run. `overrides` are `path=value` texts, `seeds` takes
    the place of the study's, `storage` is the database of searches where arms are tuned; progress goes to `console`,
    and nowhere without one. Results of different code revisions or kinds of machine make a table only if
    `allow_mixed`. Raises `ConfigError` before anything runs, `ClusterError` where Ray cannot be had, `TrackingError`
    and `SearchDatabaseError` where the store or the database cannot, `MixedResultsError` for mixed results.
    """
    from ibml.study.plan import load_plan

    plan = load_plan(source, overrides, seeds)
    return run_plan(plan, tracking_uri, storage, address, console, new_version, allow_mixed)


def run_plan(
    plan: Plan,
    tracking_uri: str | None,
    storage: str | None,
    address: str | None,
    console: Console | None,
    new_version: bool = False,
    allow_mixed: bool = False,
) -> Ablation:
    """Run a plan that is loaded already; see `ablate`."""
    from rich.console import Console

    from ibml.report.search_page import search_files
    from ibml.search.database import Database, choose_url
    from ibml.study.ablation import run_study
    from ibml.study.record import study_record
    from ibml.study.trials import planned_trials
    from ibml.tracking.mlflow_store import RECORDS

    store, database = open_store(tracking_uri), Database(choose_url(storage))
    begun = study_record(plan, [] if plan.tuning else planned_trials(plan))
    quiet = console or Console(quiet=True)
    with store.open_run("study", begun, plan.text, provisional=bool(plan.tuning)) as opened:
        outcome, record = run_study(plan, store, opened.run_id, address, quiet, database, search_files, new_version)
        made = _table(store, record, allow_mixed)
        files = {"study.yaml": plan.text, RECORDS["study"]: record.model_dump_json(indent=1)}
        opened.files = {**files, **_table_files(made)}
        opened.status = "KILLED" if outcome.interrupted else "FAILED" if made.unfinished else "FINISHED"
    return Ablation(made, outcome, opened.run_id)


def tune(
    space: SpaceSource,
    base: str | None = None,
    overrides: Iterable[str] = (),
    *,
    tracking_uri: str | None = None,
    storage: str | None = None,
    address: str | None = None,
    console: Console | None = None,
    new_version: bool = False,
    compare: Literal["random"] | None = None,
    repeats: int = 1,
) -> Tuned:
    """Run a search-space file, or a mapping of the same form, to its total number of trials.

    A search that was begun goes on. `base` takes the place of the file's, `overrides` are `path=value` texts,
    `storage` is the URL of Optuna's database; with `repeats` and `compare` more searches run beside it. Raises
    `ConfigError` before anything runs, `ClusterError`, `TrackingError` and `SearchDatabaseError`.
    """
    from ibml.search.plan import load_search

    plan = load_search(space, base, overrides)
    return run_search_plan(plan, tracking_uri, storage, address, console, new_version, compare, repeats)


def run_search_plan(
    plan: SearchPlan,
    tracking_uri: str | None,
    storage: str | None,
    address: str | None,
    console: Console | None,
    new_version: bool = False,
    compare: Literal["random"] | None = None,
    repeats: int = 1,
) -> Tuned:
    """Run a search that is loaded already; see `tune`."""
    from rich.console import Console

    from ibml.report.search_page import search_files
    from ibml.search.database import Database, choose_url
    from ibml.study.tuning import run_search

    return run_search(
        plan,
        open_store(tracking_uri),
        Database(choose_url(storage)),
        address,
        console or Console(quiet=True),
        search_files,
        new_version=new_version,
        against=compare,
        repeats=repeats,
    )


def search_record(name: str, tracking_uri: str | None = None) -> tuple[SearchRecord, list[SearchRecord]]:
    """A search as it was last recorded, and those that it was compared with."""
    store = open_store(tracking_uri, to_read=True)
    record = store.search(name)
    names = [other for group in record.compared.values() for other in group if other != name]
    return record, [store.search(other) for other in names]


def table(study: str | Path, tracking_uri: str | None = None, *, allow_mixed: bool = False) -> pd.DataFrame:
    """The table of a study, by name or by its file: one row per data set, arm and metric."""
    return study_table(str(study), tracking_uri, allow_mixed).frame()


def study_table(study: str, tracking_uri: str | None = None, allow_mixed: bool = False) -> Table:
    """The table of a study as it stands. For a file it is that file's study, as it is written now."""
    store = open_store(tracking_uri, to_read=True)
    return _table(store, study_record_of(study, store), allow_mixed)


def study_record(study: str, tracking_uri: str | None = None) -> StudyRecord:
    """The record of a study, by name or by its file."""
    return study_record_of(study, open_store(tracking_uri, to_read=True))


def study_record_of(study: str, store: MlflowStore) -> StudyRecord:
    """The record of a study by name, or of a file as it is written now."""
    if not study.endswith((".yaml", ".yml")):
        return store.study(study)
    from ibml.study.plan import load_plan
    from ibml.study.record import study_record
    from ibml.study.trials import planned_trials
    from ibml.tracking.uri import TrackingError

    plan = load_plan(study)
    if not plan.tuning:
        return study_record(plan, planned_trials(plan))
    record = store.study(plan.study.name)  # which trials the arms come to is known only to the run
    if record.file_hash != plan.file_hash:
        raise TrackingError(f"{study} was changed since it was run, and what its arms are tuned to is not known yet")
    return record


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


def _table(store: MlflowStore, record: StudyRecord, allow_mixed: bool) -> Table:
    from ibml.report.table import build_table

    return build_table(record, store.results(), allow_mixed)


def _table_files(made: Table) -> dict[str, str | bytes]:
    from ibml.report.render import EXTENSIONS, render

    return {f"table.{extension}": render(made, form) for form, extension in EXTENSIONS.items()}
