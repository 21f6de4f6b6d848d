"""Queries of the store: records, tables and reports of recorded studies and searches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ibml.config.names import normalize_name

if TYPE_CHECKING:
    import pandas as pd

    from ibml.records import SearchRecord, StudyRecord
    from ibml.report.figures.style import FigureForm
    from ibml.report.tables.results import Results
    from ibml.report.tables.table import Table
    from ibml.tracking.store.mlflow_store import MlflowStore
    from ibml.tracking.store.reader import Kind

_PLURALS: dict[Kind, str] = {"study": "studies", "search": "searches"}


def table(
    study: str | Path, tracking_uri: str | None = None, *, allow_mixed: bool = False
) -> pd.DataFrame:
    """Return the results table of a study.

    Args:
        study: Name of a study, or its YAML file.
        tracking_uri: URI of the MLflow store. Default: `MLFLOW_TRACKING_URI`, or
            `sqlite:///mlflow.db` in the working directory.
        allow_mixed: Allow results of different code revisions or kinds of machine.

    Returns:
        One row per data set, arm and metric.

    Raises:
        TrackingError: If the store has no such study.
        MixedResultsError: If results are mixed and `allow_mixed` is False.

    Example:
        >>> import ibml
        >>> frame = ibml.table("smoke")
        >>> frame.loc[frame["metric"] == "test.accuracy", ["arm", "n"]].values.tolist()
        [['Joint', 2], ['IBML', 2]]
    """
    return load_study_table(str(study), tracking_uri, allow_mixed).build_frame()


def load_study_table(
    study: str, tracking_uri: str | None = None, allow_mixed: bool = False
) -> Table:
    """Load a study with its results and build its table.

    Args:
        study: Name of a study, or its YAML file, whose present content counts.
        tracking_uri: URI of the MLflow store.
        allow_mixed: See `table`.

    Returns:
        The table.

    Raises:
        TrackingError: See `table`.
        MixedResultsError: See `table`.
    """
    from ibml.report.tables.table import build_table

    store = open_store_for(tracking_uri, study)
    results = load_results(store, find_study(study, store)[0])
    return build_table(results.study, results.records, allow_mixed)


def load_results(store: MlflowStore, record: StudyRecord) -> Results:
    """Load the results of a study's trials."""
    from ibml.report.tables.results import Results

    return Results(record, store.results({trial.key for trial in record.trials}))


def load_study_record(study: str, tracking_uri: str | None = None) -> StudyRecord:
    """Load the record of a study, given its name or YAML file."""
    return find_study_record(study, open_store_for(tracking_uri, study))


def find_study_record(study: str, store: MlflowStore) -> StudyRecord:
    """Return the record of a study by name, or build it from the present content of its file."""
    return find_study(study, store)[0]


def find_study(study: str, store: MlflowStore) -> tuple[StudyRecord, bool]:
    """Find a study by name, or build its record from the present content of its file.

    Args:
        study: Name of a study, or its YAML file.
        store: Store to search.

    Returns:
        The record, and True if the store has a run of the study.

    Raises:
        TrackingError: If the store has no such study, or its arms are tuned and the file has
            changed since the run.
    """
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
    record = store.study(plan.name)  # only the run knows the trials of tuned arms
    if record.file_hash != plan.file_hash:
        raise TrackingError(
            f"{study} was changed since it was run, and the values to which its arms are tuned are"
            " not known yet; run it again"
        )
    return record, True


def find_kind(
    name: str, kind: Kind | None = None, tracking_uri: str | None = None
) -> tuple[Kind, bool]:
    """Find out if a name belongs to a study or a search.

    Args:
        name: Name of a study or search, or the YAML file of a study.
        kind: Kind to use if the name belongs to both.
        tracking_uri: URI of the MLflow store.

    Returns:
        The kind, and True if both a study and a search have the name.

    Raises:
        TrackingError: If the name belongs to neither, or to both and `kind` is None.
    """
    from ibml.common.redaction import redact_url
    from ibml.tracking.store.uri import TrackingError

    store = open_store_for(tracking_uri, name)
    if is_yaml_name(name):
        return "study", False
    names: dict[Kind, list[str]] = {"study": store.names("study"), "search": store.names("search")}
    kinds: list[Kind] = []
    for found, known_names in names.items():
        if normalize_name(name) in map(normalize_name, known_names):
            kinds.append(found)
    both = len(kinds) == 2
    if both and kind is None:
        place = redact_url(store.uri)
        raise TrackingError(
            f"{name!r} is a study and a search in {place}; say --kind study or --kind search"
        )
    if kind:
        return kind, both
    if kinds:
        return kinds[0], both
    raise TrackingError(_describe_unknown_name(name, names, store))


def _describe_unknown_name(name: str, names: Mapping[Kind, list[str]], store: MlflowStore) -> str:
    """Return the error message for a name that belongs to no study or search."""
    from ibml.common.redaction import redact_url

    for kind in names:
        if store.is_deleted(kind, name):
            return store.describe_missing(kind, name)
    known = []
    for kind, plural in _PLURALS.items():
        if names[kind]:
            known.append(f"the {plural} {', '.join(names[kind])}")
    hint = f"; it has {' and '.join(known)}" if known else ""
    return f"no search is called {name!r} in {redact_url(store.uri)}, and no study{hint}"


def create_study_report(
    study: str,
    tracking_uri: str | None = None,
    allow_mixed: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[StudyRecord, dict[str, str | bytes]]:
    """Create the report of a study and add it to the study's run, if there is one.

    Args:
        study: Name of a study, or its YAML file.
        tracking_uri: URI of the MLflow store.
        allow_mixed: See `table`.
        say: Called with a message if the files cannot be added, as in a read-only store.

    Returns:
        The record of the study, and the content of the report's files by name.

    Raises:
        TrackingError: See `table`.
        MixedResultsError: See `table`.
    """
    from ibml.report.study.page import FORMS
    from ibml.report.tables.table import build_table
    from ibml.tracking.store.uri import TrackingError

    store = open_store_for(tracking_uri, study)
    record, is_recorded = find_study(study, store)
    results = load_results(store, record)
    made = build_table(results.study, results.records, allow_mixed)
    files = build_report_files(store, made, results, FORMS)
    if is_recorded:
        try:
            store.add_files("study", made.name, files)
        except TrackingError as error:
            say(f"The report was not added to the study's run. {error}")
    return made.study, files


def build_report_files(
    store: MlflowStore, made: Table, results: Results, forms: Collection[FigureForm]
) -> dict[str, str | bytes]:
    """Build the files of a study's report.

    Args:
        store: Store with the learning curves.
        made: Table of the study.
        results: Results behind the table.
        forms: Formats of the figures.

    Returns:
        Content by name.
    """
    from ibml.report.study.figure_data import list_curve_metrics
    from ibml.report.study.page import render_study_report

    run_ids = [result.run_id for result in results.ended]
    curves = store.read_curves(run_ids, list_curve_metrics(made.study))
    return render_study_report(made, results, curves, store.build_run_url, forms)


def load_search_record(
    name: str, tracking_uri: str | None = None
) -> tuple[SearchRecord, list[SearchRecord]]:
    """Load the record of a search, and the records of the searches it was compared with."""
    store = open_store(tracking_uri, read_only=True)
    record = store.search(name)
    others = []
    for group in record.compared.values():
        others += [store.search(other) for other in group if other != name]
    return record, others


def is_yaml_name(name: str) -> bool:
    """Return True for the name of a YAML file, as opposed to a name in the store."""
    return name.endswith((".yaml", ".yml"))


def refuse_file(trial: str) -> None:
    """Refuse a YAML file in place of a recorded trial.

    Args:
        trial: Id that the user has given.

    Raises:
        ConfigError: If it is the name of a file; the message names the command for the file.
    """
    if not is_yaml_name(trial):
        return
    from ibml.common.errors import ConfigError, Problem, SourceLocation
    from ibml.common.yaml import documents
    from ibml.config.loading.file_kinds import RECORDED, describe_other_kind

    kind = describe_other_kind(documents.read(Path(trial)), RECORDED, results=True)
    message = f"is {kind or f'a file, not {RECORDED.noun}'}"
    raise ConfigError([Problem(SourceLocation(trial), message)])


def open_store_for(tracking_uri: str | None, *studies: str) -> MlflowStore:
    """Open the store for reading studies.

    Args:
        tracking_uri: URI of the store.
        *studies: Names of studies, or their YAML files.

    Returns:
        The store.

    Raises:
        ConfigError: If a file is of another kind; the message names the command for the file.
        TrackingError: See `open_store`.
    """
    from ibml.config.loading.file_kinds import STUDY, read_as

    for study in filter(is_yaml_name, studies):
        read_as(study, STUDY, results=True)
    return open_store(tracking_uri, read_only=True)


def open_store(
    tracking_uri: str | None, read_only: bool = False, existing: bool = False
) -> MlflowStore:
    """Open an MLflow store.

    Args:
        tracking_uri: URI of the store. Default: `MLFLOW_TRACKING_URI`, or `sqlite:///mlflow.db` in
            the working directory.
        read_only: Open the store without changing it. A missing database file is an error.
        existing: Raise an error if the database file is missing, instead of creating it.

    Returns:
        The store.

    Raises:
        TrackingError: If the URI is not valid, or the file is missing and must exist.
    """
    from ibml.tracking.store.mlflow_store import MlflowStore
    from ibml.tracking.store.uri import TrackingError, choose_uri, get_database_file

    uri = choose_uri(tracking_uri)
    database = get_database_file(uri)
    if (read_only or existing) and database and not database.exists():
        raise TrackingError(f"nothing was run here yet: there is no {database}")
    return MlflowStore(uri, read_only=read_only)
