"""Views of recorded results: comparisons, sample sizes, the overview and single trials."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from ibml.common.errors import IbmlError
from ibml.config.names import normalize_name
from ibml.queries import (
    find_study_record,
    is_yaml_name,
    load_results,
    open_store,
    open_store_for,
    refuse_file,
)

if TYPE_CHECKING:
    from ibml.records import TrialRecord
    from ibml.report.tables.table_spec import TableSpec
    from ibml.report.views.comparison import ComparisonSide
    from ibml.report.views.overview import OverviewItem
    from ibml.report.views.sample_size import PowerPlan
    from ibml.report.views.trial import TrialView
    from ibml.tracking.store.mlflow_store import MlflowStore
    from ibml.tracking.store.reader import Overview


def estimate_seeds(
    study: str,
    detect: float,
    tracking_uri: str | None = None,
    metric: str | None = None,
    power: float = 0.8,
) -> PowerPlan:
    """Estimate the number of seeds needed to detect a difference, from the variance of past trials.

    Args:
        study: Name of a study, or its YAML file.
        detect: Difference to detect, in the displayed unit of the metric (points for percentages).
        tracking_uri: URI of the MLflow store.
        metric: Metric of the table; by default its first.
        power: Probability of detecting the difference.

    Returns:
        The estimate.

    Raises:
        IbmlError: If the study has too few results.
    """
    from ibml.report.views.sample_size import plan_seeds

    store = open_store_for(tracking_uri, study)
    record = find_study_record(study, store)
    return plan_seeds(load_results(store, record), detect, metric, power)


def compare_studies(first: str, second: str, tracking_uri: str | None = None) -> list[TableSpec]:
    """Compare two studies, or two arms, in configuration and results.

    Args:
        first: Study, or an arm as `STUDY/ARM`.
        second: Study or arm to compare with the first.
        tracking_uri: URI of the MLflow store.

    Returns:
        Tables of the differences.

    Raises:
        TrackingError: If the store has no such study.
        IbmlError: If a study has no such arm.
    """
    from ibml.report.views.comparison import compare

    store = open_store_for(tracking_uri, first, second)
    return compare(_load_side(first, store), _load_side(second, store))


def _load_side(name: str, store: MlflowStore) -> ComparisonSide:
    """Load a study or an arm; the names of studies have no slash."""
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


def load_overview(tracking_uri: str | None = None) -> TableSpec:
    """Load the table of all studies and searches with their kind, state, progress and age."""
    from ibml.report.views.overview import build_overview_table
    from ibml.tracking.heartbeat import Heartbeat

    store = open_store(tracking_uri, read_only=True)
    alive = Heartbeat(store).list_peers()
    found = store.overview()
    results = store.results()
    items: list[OverviewItem] = []
    for run in found:
        status = run.resolve_status(alive)
        record = store.record(run)
        items.append((run.kind, run.name, status, run.started_at, run.ended_at, record))
    items += _find_deleted(store, found, results.values())
    return build_overview_table(items, results)


def _find_deleted(
    store: MlflowStore, found: Collection[Overview], trials: Collection[TrialRecord]
) -> Iterator[OverviewItem]:
    """Yield studies and searches whose run was deleted, but not their trials."""
    from ibml.report.views.overview import DELETED
    from ibml.tracking.study_labels import find_lost_studies

    deleted = {(run.kind, run.name): run for run in store.overview(deleted=True)}
    studies = {run.name for run in found if run.kind == "study"}
    for name, own_trials in find_lost_studies(trials, studies):
        started = min(trial.started_at for trial in own_trials)
        ended = max(trial.ended_at for trial in own_trials)
        study_run = deleted.get(("study", name))
        record = store.record(study_run) if study_run else None
        yield "study", name, DELETED, started, ended, record
    searches = {run.name for run in found if run.kind == "search"}
    for (kind, name), run in deleted.items():
        if kind == "search" and name not in searches and store.has_trials(name):
            yield "search", name, DELETED, run.started_at, run.ended_at, store.record(run)


def load_trial_view(trial: str, tracking_uri: str | None = None) -> TrialView:
    """Load all records of a trial, given its run id or key, or the beginning of either."""
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
