"""ibml from Python: `train`, `tune`, `ablate`, `reproduce` and `table`. The command line is a thin layer over these."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ibml.common.interruption import deferred, watch_signals
from ibml.config.trial import TrialConfig

if TYPE_CHECKING:
    from rich.console import Console

    from ibml.config.data import DataConfig
    from ibml.models.multimodal import MultimodalModel
    from ibml.records import SearchRecord, StudyRecord
    from ibml.report.tables.table import Table
    from ibml.search.database import Database
    from ibml.search.plan import SearchPlan, SpaceSource
    from ibml.study.engine.run_summary import Outcome
    from ibml.study.planning.plan import Plan, StudySource
    from ibml.study.ray.health_check import Finding
    from ibml.study.reproduce import Reproduction
    from ibml.study.tuning import Tuned
    from ibml.tracking.mlflow_store import MlflowStore
    from ibml.tracking.session import Session
    from ibml.training.trainer import TrialResult


STAGE_GB = 10.0


@dataclass(frozen=True)
class Ablation:
    """A study that was run: its table, how the run went, and the id of its MLflow run."""

    table: Table
    outcome: Outcome
    run_id: str


@dataclass(frozen=True)
class Places:
    """Where a study or a search works: the MLflow store, Optuna's database, the Ray cluster, and the folder for
    checkpoints, with the gigabytes that it has for states that trials share (0: they share none). What is not given is
    found as the command line's help says."""

    tracking_uri: str | None = None
    storage: str | None = None
    address: str | None = None
    checkpoints: str | Path | None = None
    stage_gb: float = STAGE_GB

    def variables(self) -> dict[str, str]:
        """What is given, as environment variables that say the same."""
        given = {
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "OPTUNA_STORAGE": self.storage,
            "IBML_CHECKPOINTS": self.checkpoints,
        }
        return {name: str(value) for name, value in given.items() if value}


def train(config: TrialConfig) -> TrialResult:
    """Train one trial in this process, without Ray and without MLflow."""
    from ibml import data
    from ibml.training.trainer import train as train_trial

    data.ready([config.data])
    return train_trial(config)


def load_model(path: str | Path) -> MultimodalModel:
    """The model of a trial's selected epoch, from the `selected.ckpt` that the trial left; see
    `ibml.training.checkpoint`."""
    from ibml.training.checkpoint import load_model as load

    return load(path)


def reproduce(trial: str, *, tracking_uri: str | None = None, console: Console | None = None) -> Reproduction:
    """Run a recorded trial again in this process, and compare every metric of every epoch.

    `trial` is its MLflow run id or key, or the beginning of either. Nothing is recorded. Raises `TrackingError` where
    there is no such trial, `NotReproducible` where data or trainer are no longer what they were.
    """
    from rich.console import Console

    from ibml.queries import open_store, refuse_file
    from ibml.study.reproduce import reproduce_trial

    refuse_file(trial)
    return reproduce_trial(trial, open_store(tracking_uri, to_read=True), console or Console(quiet=True))


def ablate(
    source: StudySource,
    overrides: Iterable[str] = (),
    *,
    seeds: int | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    address: str | None = None,
    console: Console | None = None,
    checkpoints: str | Path | None = None,
    new_version: bool = False,
    allow_mixed: bool = False,
    rerun: bool = False,
    stage_gb: float = STAGE_GB,
) -> Ablation:
    """Run a study file, or a mapping of the same form, and make its table.

    Trials whose result the store has already are not run. `overrides` are `path=value` texts, `seeds` takes the place
    of the study's, `storage` is the database of searches where arms are tuned; progress goes to `console`, and nowhere
    without one. `checkpoints` is the folder for checkpoints and for what the store has not taken yet. `rerun` deletes
    the results that there are of the study's trials first. `stage_gb` is the room for states that trials share, so that
    epochs in which they train alike are trained once; with 0 each trains alone. Results of different code revisions or
    kinds of machine make a table only if `allow_mixed`. A study with overrides is recorded under a name of its own, as
    `NAME+PATH=VALUE`. Where a study of this name has another design, `new_version` begins `NAME v2`. Raises
    `ConfigError` before anything runs, `DesignChangedError` for another design without `new_version`, `ClusterError`
    where Ray cannot be had, `TrackingError` and `SearchDatabaseError` where the store or the database cannot,
    `MixedResultsError` for mixed results.
    """
    from ibml.study.planning.plan import load_plan

    plan, places = load_plan(source, overrides, seeds), Places(tracking_uri, storage, address, checkpoints, stage_gb)
    return run_plan(plan, places, console, new_version=new_version, allow_mixed=allow_mixed, rerun=rerun)


def run_plan(
    plan: Plan, places: Places, console: Console | None, *, new_version: bool, allow_mixed: bool, rerun: bool
) -> Ablation:
    """Run a plan that is loaded already; see `ablate`."""
    from rich.console import Console

    from ibml.queries import open_store
    from ibml.search.database import Database, choose_url
    from ibml.study.planning.versions import choose_version

    database, quiet = Database(choose_url(places.storage)), console or Console(quiet=True)
    if plan.tuning:
        database.open_storage()
    with stoppable(), working_on(open_store(places.tracking_uri), places.checkpoints, quiet) as session:
        plan = choose_version(plan, session.store, new_version, session.say)
        if plan.name != plan.study.name:
            session.say(f"This run is recorded as {plan.name!r}; its table: ibml table {shlex.quote(plan.name)}")
        # What is proposed follows from the order of results, so a search has one driver.
        alone = session.presence.alone(f"the study {plan.name}", session.say) if plan.tuning else nullcontext()
        with alone:
            return _run_plan(plan, session, database, places, quiet, new_version, allow_mixed, rerun)


def find_job_name(plan: Plan, places: Places, new_version: bool) -> str:
    """Return the name under which a job will record a study, as far as its store answers from here.

    Raises `DesignChangedError` as the job would.
    """
    from ibml.queries import open_store
    from ibml.study.planning.versions import choose_version
    from ibml.tracking.uri import TrackingError

    uri = places.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:  # the cluster's own environment names the store
        return plan.name
    try:
        return choose_version(plan, open_store(uri, to_read=True), new_version, lambda text: None).name
    except TrackingError:
        return plan.name


def _run_plan(
    plan: Plan,
    session: Session,
    database: Database,
    places: Places,
    console: Console,
    new_version: bool,
    allow_mixed: bool,
    rerun: bool,
) -> Ablation:
    from ibml.common.version import code_revision
    from ibml.report.tables.results import Results, mixtures, refuse_mixtures
    from ibml.study.ablation import run_study
    from ibml.study.engine.data_preparation import prepare
    from ibml.study.engine.prefix_cache import shared_stages
    from ibml.study.invalidation import forget_results
    from ibml.study.planning.record import study_record
    from ibml.study.planning.trials import planned_trials
    from ibml.tracking.mlflow_store import RECORDS
    from ibml.tracking.study_labels import update_labels

    prepare((cell.config.data for cell in plan.cells), console)
    store = session.store
    begun = study_record(plan, [] if plan.tuning else planned_trials(plan))
    before = store.study_if_any(plan.name) if plan.tuning else begun  # tuned, the last run knows the trials
    known = store.results()
    if rerun and before:
        known = forget_results(session, before, known)
    if not allow_mixed:
        found = mixtures(Results(before, known), code_revision()) if before else []
        refuse_mixtures(plan.name, found)
    with store.open_run("study", begun, plan.text, None, bool(plan.tuning), session.presence.id) as opened:
        run_id = opened.run_id
        stages = shared_stages(session.workspace.stages, places.stage_gb, anew=rerun)
        outcome, record = run_study(
            plan, session, known, run_id, places.address, console, database, _search_files, stages, new_version
        )
        reused = [known[trial.key] for trial in record.trials if trial.key in known]
        added = {result.run_id for result in reused if result.ended and plan.name not in result.studies}
        update_labels(store, record, run_id, added, opened.is_new)
        opened.files = {"study.yaml": plan.text, RECORDS["study"]: record.model_dump_json(indent=1)}
        made, files = _reported(store, record, run_id, allow_mixed, outcome.interrupted)
        opened.files |= files
        opened.status = "KILLED" if outcome.interrupted else "FAILED" if made.unfinished else "FINISHED"
    return Ablation(made, outcome, run_id)


def _reported(
    store: MlflowStore, record: StudyRecord, run_id: str, allow_mixed: bool, interrupted: bool
) -> tuple[Table, dict[str, str | bytes]]:
    """The table of a study, and the files of its run: those of the whole report where the table has changed. What makes
    them is imported now, so that no training waits for it."""
    from ibml.queries import report_files, results_of
    from ibml.report.study.page import FIGURES, FORMS
    from ibml.report.tables.render import render, render_files
    from ibml.report.tables.table import build_table

    results = results_of(store, record)
    made = build_table(record, results.records, allow_mixed)
    if interrupted or store.artifact_if_any(run_id, "table.json") == render(made, "json"):
        return made, render_files(made)
    had_figures = any(path.startswith(f"{FIGURES}/") for path in store.artifact_paths(run_id))
    forms = FORMS if had_figures else ()  # none shall be older than the page
    return made, report_files(store, made, results, forms)


def _search_files(record: SearchRecord, others: Sequence[SearchRecord] = ()) -> dict[str, str | bytes]:
    from ibml.report.search.page import search_files

    return search_files(record, others)


def working_on(store: MlflowStore, checkpoints: str | Path | None, console: Console) -> Session:
    """A driver's session on a store; what a person should know goes to the console."""
    from ibml.tracking.session import Session

    return Session(store, checkpoints, lambda text: console.print(text, soft_wrap=True, markup=False, highlight=False))


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM stop a study or a search where that is safe, with what has finished kept."""
    with watch_signals(), deferred(lambda: "Stopping ... (a second Ctrl-C ends at once)"):
        yield


def check_cluster(places: Places, data: Iterable[DataConfig] = ()) -> list[Finding]:
    """What every node of a running cluster says of its software, GPUs, checkpoints, clock and these data sets, and
    whether the store and the database answer here. Raises `ClusterError` where there is no cluster."""
    from ibml.queries import open_store
    from ibml.search.database import Database, choose_url
    from ibml.study.ray.cluster import running_cluster
    from ibml.study.ray.health_check import check_nodes, check_services
    from ibml.tracking.workspace import place

    store, database = open_store(places.tracking_uri), Database(choose_url(places.storage))
    services = check_services({"MLflow": lambda: store.client, "Optuna": lambda: database.storage})
    different = list({config.model_dump_json(): config for config in data}.values())
    with running_cluster(places.address):
        return [*check_nodes(place(store.uri, places.checkpoints), different), *services]


def tune(
    space: SpaceSource,
    base: str | None = None,
    overrides: Iterable[str] = (),
    *,
    tracking_uri: str | None = None,
    storage: str | None = None,
    address: str | None = None,
    console: Console | None = None,
    checkpoints: str | Path | None = None,
    new_version: bool = False,
    compare: Literal["random"] | None = None,
    repeats: int = 1,
    stage_gb: float = STAGE_GB,
) -> Tuned:
    """Run a search-space file, or a mapping of the same form, to its total number of trials.

    A search that was begun goes on. `base` takes the place of the file's, `overrides` are `path=value` texts,
    `storage` is the URL of Optuna's database; with `repeats` and `compare` more searches run beside it; `stage_gb` is
    as in `ablate`. Raises `ConfigError` before anything runs, `ClusterError`, `TrackingError` and
    `SearchDatabaseError`.
    """
    from ibml.search.plan import load_search

    plan = load_search(space, base, overrides)
    places = Places(tracking_uri, storage, address, checkpoints, stage_gb)
    return run_search_plan(plan, places, console, new_version=new_version, compare=compare, repeats=repeats)


def run_search_plan(
    plan: SearchPlan,
    places: Places,
    console: Console | None,
    *,
    new_version: bool,
    compare: Literal["random"] | None,
    repeats: int,
) -> Tuned:
    """Run a search that is loaded already; see `tune`."""
    from rich.console import Console

    from ibml.queries import open_store
    from ibml.search.database import Database, choose_url
    from ibml.study.engine.data_preparation import prepare
    from ibml.study.engine.prefix_cache import shared_stages
    from ibml.study.tuning import run_search

    quiet, database = console or Console(quiet=True), Database(choose_url(places.storage))
    database.open_storage()
    with stoppable(), ExitStack() as stack:
        prepare([plan.space.base.data], quiet)
        session = stack.enter_context(working_on(open_store(places.tracking_uri), places.checkpoints, quiet))
        return run_search(
            plan,
            session,
            database,
            places.address,
            quiet,
            _search_files,
            shared_stages(session.workspace.stages, places.stage_gb),
            new_version=new_version,
            against=compare,
            repeats=repeats,
        )
