"""What was run, read back: the store's records and results as tables, reports and comparisons."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ibml.common.errors import IbmlError
from ibml.config.names import normalize_name

if TYPE_CHECKING:
    import pandas as pd

    from ibml.records import SearchRecord, StudyRecord, TrialRecord
    from ibml.report.figures.style import FigureForm
    from ibml.report.tables.results import Results
    from ibml.report.tables.table import Table
    from ibml.report.tables.table_spec import TableSpec
    from ibml.report.views.comparison import ComparisonSide
    from ibml.report.views.overview import OverviewItem
    from ibml.report.views.sample_size import PowerPlan
    from ibml.report.views.trial import TrialView
    from ibml.tracking.store.mlflow_store import MlflowStore
    from ibml.tracking.store.reader import Kind, Overview

_PLURALS: dict[Kind, str] = {"study": "studies", "search": "searches"}


def table(
    study: str | Path, tracking_uri: str | None = None, *, allow_mixed: bool = False
) -> pd.DataFrame:
    """The table of a study, by name or by its file: one row per data set, arm and metric.

    Raises `TrackingError` where there is no such study, `MixedResultsError` for results of different code revisions or
    kinds of machine, unless these are allowed.
    """
    return load_study_table(str(study), tracking_uri, allow_mixed).build_frame()


def load_study_table(
    study: str, tracking_uri: str | None = None, allow_mixed: bool = False
) -> Table:
    """The table of a study as it stands. For a file it is that file's study, as it is written now."""
    from ibml.report.tables.table import build_table

    store = _open_for(tracking_uri, study)
    results = load_results(store, find_study_record(study, store))
    return build_table(results.study, results.records, allow_mixed)


def load_results(store: MlflowStore, record: StudyRecord) -> Results:
    """A study with the results of its trials."""
    from ibml.report.tables.results import Results

    return Results(record, store.results({trial.key for trial in record.trials}))


def study_record(study: str, tracking_uri: str | None = None) -> StudyRecord:
    """The record of a study, by name or by its file."""
    return find_study_record(study, _open_for(tracking_uri, study))


def find_study_record(study: str, store: MlflowStore) -> StudyRecord:
    """The record of a study by name, or of a file as it is written now."""
    return find_study(study, store)[0]


def find_study(study: str, store: MlflowStore) -> tuple[StudyRecord, bool]:
    """Return the record of a study, by name or as a file is written now, and whether the store has a run of it."""
    if not is_yaml_name(study):
        return store.study(study), True
    from ibml.study.planning.plan import load_plan
    from ibml.study.planning.record import study_record
    from ibml.study.planning.trials import build_trials
    from ibml.study.planning.versions import find_version
    from ibml.tracking.store.uri import TrackingError

    plan = load_plan(study, to_run=False)
    version = find_version(plan, store)
    plan = replace(plan, name=version or plan.name)
    if not plan.tuning:
        return study_record(plan, build_trials(plan)), version is not None
    record = store.study(plan.name)  # which trials the arms come to is known only to the run
    if record.file_hash != plan.file_hash:
        raise TrackingError(
            f"{study} was changed since it was run, and what its arms are tuned to is not known yet"
        )
    return record, True


def find_kind(
    name: str, kind: Kind | None = None, tracking_uri: str | None = None
) -> tuple[Kind, bool]:
    """Return whether a name is that of a study or a search, and whether it is both.

    Raises `TrackingError` where it is neither, or both and no `kind` is given.
    """
    from ibml.common.redaction import redact_url
    from ibml.tracking.store.uri import TrackingError

    store = _open_for(tracking_uri, name)
    if is_yaml_name(name):
        return "study", False
    names: dict[Kind, list[str]] = {"study": store.names("study"), "search": store.names("search")}
    kinds = [
        found
        for found, known in names.items()
        if normalize_name(name) in map(normalize_name, known)
    ]
    if kind is None and len(kinds) == 2:
        place = redact_url(store.uri)
        raise TrackingError(
            f"{name!r} is a study and a search in {place}; say --kind study or --kind search"
        )
    if kinds or kind:
        return kind or ("study" if "study" in kinds else "search"), len(kinds) == 2
    known = [
        f"the {plural} {', '.join(names[one])}" for one, plural in _PLURALS.items() if names[one]
    ]
    for missing in names:
        if store.is_deleted(missing, name):
            raise TrackingError(store.describe_missing(missing, name))
    hint = f"; it has {' and '.join(known)}" if known else ""
    raise TrackingError(
        f"no search is called {name!r} in {redact_url(store.uri)}, and no study{hint}"
    )


def create_study_report(
    study: str,
    tracking_uri: str | None = None,
    allow_mixed: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[StudyRecord, dict[str, str | bytes]]:
    """Return the report of a study and add it to the study's run, if there is one.

    Args:
        study: The name of a study, or its file.
        tracking_uri: The URI of the store.
        allow_mixed: See `table`.
        say: Called with a message where the files cannot be added, as in a store that is read-only.

    Returns:
        The record of the study; by name the files of the report: page, figures, tables.

    Raises:
        TrackingError: See `table`.
        MixedResultsError: See `table`.
    """
    from ibml.report.study.page import FORMS
    from ibml.report.tables.table import build_table
    from ibml.tracking.store.uri import TrackingError

    store = _open_for(tracking_uri, study)
    record, is_recorded = find_study(study, store)
    results = load_results(store, record)
    made = build_table(results.study, results.records, allow_mixed)
    files = build_report_files(store, made, results, FORMS)
    if is_recorded:
        try:
            store.add_files("study", made.name, files)
        except TrackingError as error:
            say(f"The report is not added to the study's run. {error}")
    return made.study, files


def build_report_files(
    store: MlflowStore, made: Table, results: Results, forms: Collection[FigureForm]
) -> dict[str, str | bytes]:
    """The files of the report of a study, from its table and the results behind it; its figures in these forms."""
    from ibml.report.study.figure_data import list_curve_metrics
    from ibml.report.study.page import render_study_report

    curves = store.read_curves(
        [result.run_id for result in results.ended], list_curve_metrics(made.study)
    )
    return render_study_report(made, results, curves, store.build_run_url, forms)


def load_search_record(
    name: str, tracking_uri: str | None = None
) -> tuple[SearchRecord, list[SearchRecord]]:
    """A search as it was last recorded, and those that it was compared with."""
    store = open_store(tracking_uri, read_only=True)
    record = store.search(name)
    names = [other for group in record.compared.values() for other in group if other != name]
    return record, [store.search(other) for other in names]


def estimate_seeds(
    study: str,
    detect: float,
    tracking_uri: str | None = None,
    metric: str | None = None,
    power: float = 0.8,
) -> PowerPlan:
    """How many seeds a study needs to detect a difference of this size, from the variance that its trials have shown.

    `detect` is in the metric's shown unit, points for percentages. Raises `IbmlError` where too little was run.
    """
    from ibml.report.views.sample_size import plan_seeds

    store = _open_for(tracking_uri, study)
    record = find_study_record(study, store)
    return plan_seeds(load_results(store, record), detect, metric, power)


def comparison(first: str, second: str, tracking_uri: str | None = None) -> list[TableSpec]:
    """What differs between two studies, or between two arms (`STUDY/ARM`), in configuration and in results."""
    from ibml.report.views.comparison import compare

    store = _open_for(tracking_uri, first, second)
    return compare(_load_side(first, store), _load_side(second, store))


def _load_side(name: str, store: MlflowStore) -> ComparisonSide:
    """A study, or an arm of one: the name of a study has no slash."""
    from ibml.common.errors import format_suggestion
    from ibml.report.views.comparison import ComparisonSide

    if is_yaml_name(name):
        return ComparisonSide(name, load_results(store, find_study_record(name, store)), None)
    study, slash, given = name.partition("/")
    record = store.study(study)
    arm = next((arm for arm in record.arms if normalize_name(arm) == normalize_name(given)), None)
    if slash and arm is None:
        raise IbmlError(f"{study} has no arm {given!r}{format_suggestion(given, record.arms)}")
    return ComparisonSide(name, load_results(store, record), arm if slash else None)


def overview(tracking_uri: str | None = None) -> TableSpec:
    """Every study and search: kind, state, progress, age."""
    from ibml.report.views.overview import build_overview_table
    from ibml.tracking.heartbeat import Heartbeat

    store = open_store(tracking_uri, read_only=True)
    alive, found, results = Heartbeat(store).list_peers(), store.overview(), store.results()
    seen = [
        (o.kind, o.name, o.resolve_status(alive), o.started_at, o.ended_at, store.record(o))
        for o in found
    ]
    return build_overview_table([*seen, *_find_deleted(store, found, results.values())], results)


def _find_deleted(
    store: MlflowStore, found: Collection[Overview], trials: Collection[TrialRecord]
) -> Iterator[OverviewItem]:
    """Yield studies and searches whose run was deleted while their trials are there."""
    from ibml.report.views.overview import DELETED
    from ibml.tracking.study_labels import find_lost_studies

    deleted = {
        (overview.kind, overview.name): overview for overview in store.overview(deleted=True)
    }
    for name, own in find_lost_studies(trials, {o.name for o in found if o.kind == "study"}):
        started, ended = (
            min(trial.started_at for trial in own),
            max(trial.ended_at for trial in own),
        )
        run = deleted.get(("study", name))
        yield "study", name, DELETED, started, ended, store.record(run) if run else None
    there = {o.name for o in found if o.kind == "search"}
    for (kind, name), run in deleted.items():
        if kind == "search" and name not in there and store.has_trials(name):
            yield "search", name, DELETED, run.started_at, run.ended_at, store.record(run)


def load_trial_view(trial: str, tracking_uri: str | None = None) -> TrialView:
    """A trial by its run id or key, or the beginning of either."""
    from ibml.report.views.trial import TrialView

    refuse_file(trial)
    store = open_store(tracking_uri, read_only=True)
    record = store.find_trial(trial)
    return TrialView(
        record,
        store.read_trial_config(record.run_id),
        store.epochs(record.run_id),
        store.read_traceback(record.run_id),
        store.list_artifact_paths(record.run_id),
    )


def is_yaml_name(name: str) -> bool:
    """Return whether a name is that of a YAML file, and not of something in the store."""
    return name.endswith((".yaml", ".yml"))


def refuse_file(trial: str) -> None:
    """Refuse a YAML file where a recorded trial is named.

    Raises:
        ConfigError: The name is that of a file; the message names the command that takes it.
    """
    if not is_yaml_name(trial):
        return
    from ibml.common.errors import ConfigError, Problem, SourceLocation
    from ibml.common.yaml import documents
    from ibml.config.loading.file_kinds import RECORDED, describe_other_kind

    what = (
        describe_other_kind(documents.read(Path(trial)), RECORDED, results=True)
        or f"a file, not {RECORDED.noun}"
    )
    raise ConfigError([Problem(SourceLocation(trial), f"is {what}")])


def _open_for(tracking_uri: str | None, *studies: str) -> MlflowStore:
    """Return the store to read studies from, by name or by file.

    Raises:
        ConfigError: A file is not that of a study; the message names the command that takes it.
    """
    from ibml.config.loading.file_kinds import STUDY, read_as

    for study in filter(is_yaml_name, studies):
        read_as(study, STUDY, results=True)
    return open_store(tracking_uri, read_only=True)


def open_store(
    tracking_uri: str | None, read_only: bool = False, existing: bool = False
) -> MlflowStore:
    """Return the store at a URI; without one, at `MLFLOW_TRACKING_URI` or in the working folder.

    Args:
        tracking_uri: The URI, if one is given.
        to_read: Whether the store is only read. Then nothing in it is changed.
        existing: Whether a database file that does not exist is an error, as for reading, instead of being made.

    Raises:
        TrackingError: The URI names no store, or the file does not exist.
    """
    from ibml.tracking.store.mlflow_store import MlflowStore
    from ibml.tracking.store.uri import TrackingError, choose_uri, get_database_file

    uri = choose_uri(tracking_uri)
    database = get_database_file(uri)
    if (read_only or existing) and database and not database.exists():
        raise TrackingError(f"nothing was run here yet: there is no {database}")
    return MlflowStore(uri, read_only=read_only)
