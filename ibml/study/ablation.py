"""Ablation runs: train the missing trials, tune the arms, and build the table."""

from __future__ import annotations

import logging
import os
import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.console import Console

from ibml.common.sanitize import strip_control_characters
from ibml.common.version import get_code_revision
from ibml.queries import build_report_files, load_results, open_store
from ibml.records import StudyRecord, TrialRecord
from ibml.report.tables.results import Results, find_mixtures, refuse_mixtures
from ibml.search.database import Database, choose_url
from ibml.study.arm_tuning import (
    StudyFollowUps,
    TunedArm,
    describe_budget,
    describe_tuning,
    open_arms,
)
from ibml.study.backends import choose_resources, train_tasks
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.data_preparation import prepare_data
from ibml.study.engine.prefix_cache import open_prefix_cache
from ibml.study.engine.progress import StudyProgress
from ibml.study.engine.run_summary import RunSummary
from ibml.study.engine.searches import OpenSearch, count_remaining_proposals
from ibml.study.invalidation import invalidate_results
from ibml.study.options import RunContext, RunOptions
from ibml.study.planning.plan import Plan
from ibml.study.planning.record import study_record
from ibml.study.planning.seed_schedule import SeedSchedule
from ibml.study.planning.trials import TrialSpec, build_trials
from ibml.study.planning.versions import choose_version
from ibml.study.results import Ablation
from ibml.study.sessions import open_session, stop_on_signals
from ibml.tracking.journal.events import ResultShared
from ibml.tracking.session import Session
from ibml.tracking.store.mlflow_store import RECORDS, MlflowStore
from ibml.tracking.store.uri import TrackingError
from ibml.tracking.study_labels import update_labels

if TYPE_CHECKING:
    from ibml.report.tables.table import Table

_log = logging.getLogger(__name__)


def run_ablation(plan: Plan, options: RunOptions, console: Console | None = None) -> Ablation:
    """Train the trials of a plan that have no result yet, and build the table.

    Args:
        plan: The study.
        options: Options of the run.
        console: Console for progress and messages; None prints nothing.

    Returns:
        The table, the counters of the run, and the id of the study's MLflow run.

    Raises:
        DesignChangedError: If the name exists with another design and `new_version` is not set.
        ClusterError: If Ray is not available.
        TrackingError: If the store is not available.
        SearchDatabaseError: If Optuna's database is not available.
        MixedResultsError: If results are mixed and `allow_mixed` is not set.
    """
    resources = choose_resources(plan.study.resources, options)
    database, console = Database(choose_url(options.storage)), console or Console(quiet=True)
    if plan.tuning:
        database.open_storage()
    store = open_store(options.tracking_uri)
    with stop_on_signals(), open_session(store, options.checkpoints, console) as session:
        plan = choose_version(plan, session.store, options.new_version, session.say)
        if plan.name != plan.study.name:
            command = f"ibml table {shlex.quote(plan.name)}"
            session.say(f"This run is recorded as {plan.name!r}; its table: {command}")
        with ExitStack() as stack:
            if plan.tuning:
                # Proposals depend on the order of results, so a search has exactly one driver.
                lock = session.heartbeat.exclusive(f"the study {plan.name}", session.say)
                stack.enter_context(lock)
            prepare_data((cell.config.data for cell in plan.cells), console)
            prefixes = open_prefix_cache(
                session.workspace.prefix_folder, options.stage_gb, clear=options.rerun
            )
            context = RunContext(session, database, console, prefixes, options, resources)
            return _run_plan(plan, context)


def find_job_name(plan: Plan, options: RunOptions) -> str:
    """Return the name under which a Ray job will record a study.

    The name includes a version suffix only if the store can be read from this machine.

    Args:
        plan: The study.
        options: Options of the run.

    Returns:
        The versioned name, or the plan's name if the store is unknown or unreachable.

    Raises:
        DesignChangedError: If the name exists with another design and `new_version` is not set.
    """
    uri = options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:  # the cluster's environment defines the store
        return plan.name
    try:
        store = open_store(uri, read_only=True)
        return choose_version(plan, store, options.new_version, lambda text: None).name
    except TrackingError:
        return plan.name


def _run_plan(plan: Plan, context: RunContext) -> Ablation:
    session, options = context.session, context.options
    store = session.store
    initial = study_record(plan, [] if plan.tuning else build_trials(plan))
    # The trials of tuned arms are known only from an earlier run's record.
    before = store.read_study_if_any(plan.name) if plan.tuning else initial
    known = store.results()
    if options.rerun and before:
        known = invalidate_results(session, before, known)
    _check_mixtures(plan.name, before, known, options.allow_mixed)
    with store.open_run(
        "study", initial, plan.text, None, bool(plan.tuning), session.heartbeat.id
    ) as opened:
        run_id = opened.run_id
        summary, record = _run_study(plan, context, known, run_id)
        added = set()
        for trial in record.trials:
            result = known.get(trial.key)
            if result and result.ended and plan.name not in result.studies:
                added.add(result.run_id)
        update_labels(store, record, run_id, added, opened.is_new)
        opened.files = {"study.yaml": plan.text, RECORDS["study"]: record.model_dump_json(indent=1)}
        table, files = _make_report(store, record, run_id, options.allow_mixed, summary.interrupted)
        opened.files |= files
        if summary.interrupted:
            opened.status = "KILLED"
        elif table.unfinished:
            opened.status = "FAILED"
        else:
            opened.status = "FINISHED"
    return Ablation(table, summary, run_id)


def _check_mixtures(
    name: str, before: StudyRecord | None, known: Mapping[str, TrialRecord], allow_mixed: bool
) -> None:
    """Refuse results of different revisions or machines, or only warn if they are allowed."""
    if before is None:
        return
    mixtures = find_mixtures(Results(before, known), get_code_revision())
    if not allow_mixed:
        refuse_mixtures(name, mixtures)
        return
    for text in mixtures:
        _log.warning("%s", strip_control_characters(f"{name} mixes {text}"))


def _run_study(
    plan: Plan, context: RunContext, known: dict[str, TrialRecord], run_id: str
) -> tuple[RunSummary, StudyRecord]:
    """Train the trials that have no result in `known`, as child runs of the study's run.

    The searches of tuned arms run concurrently. After its search, each arm is trained with
    evaluation seeds.

    Args:
        plan: The study.
        context: Session, database and options of the run.
        known: Records of earlier trials, by key.
        run_id: Id of the study's MLflow run.

    Returns:
        The counters of the run, and the study's record.
    """
    session = context.session
    tags = {"ibml.study": plan.name, "ibml.revision": get_code_revision()}
    arms = open_arms(plan, context)
    searches = [arm.opened for arm in arms if arm.opened]
    schedule = SeedSchedule(plan)
    todo, reused = _find_missing_trials(plan, schedule, arms, known, context)
    follow_ups = StudyFollowUps(schedule, arms, run_id, tags)
    with ExitStack() as stack:
        for opened in searches:
            opened.run = stack.enter_context(
                session.store.open_run(
                    "search",
                    opened.build_record(),
                    opened.plan.text,
                    run_id,
                    driver=session.heartbeat.id,
                )
            )
            opened.tags = {"ibml.revision": tags["ibml.revision"]}
        coordinator = Coordinator(
            session,
            _make_progress(plan, todo, searches, context.console),
            follow_ups.make_tasks(todo),
            searches,
            known,
            context.database.url,
            follow_ups,
            context.prefixes,
        )
        configs = [cell.config for cell in plan.cells]
        summary = train_tasks(coordinator, plan.name, configs, context)
        summary.reused += reused
        session.flush_or_raise()
        records = [arm.opened.close(summary) if arm.opened else None for arm in arms]
    cells = plan.cells
    if arms:
        cells = [cell for arm in arms if (cell := arm.cell)]
    tuning = [describe_tuning(arm, record) for arm, record in zip(arms, records, strict=True)]
    note = describe_budget(plan, arms, tuning)
    return summary, study_record(plan, build_trials(plan, cells), tuning, note)


def _find_missing_trials(
    plan: Plan,
    schedule: SeedSchedule,
    arms: Sequence[TunedArm],
    known: Mapping[str, TrialRecord],
    context: RunContext,
) -> tuple[list[TrialSpec], int]:
    """Split the planned trials into missing and known ones, and link known results to the study.

    Args:
        plan: The study.
        schedule: Seeds of the arms.
        arms: Tuned arms; empty if the study tunes nothing.
        known: Records of earlier trials, by key.
        context: Session and options of the run.

    Returns:
        The trials without a result, and the number of trials with a result.
    """
    cells = plan.cells
    if arms:
        cells = [arm.plan.cell for arm in arms if not arm.opened]
    missing, reused = [], 0
    waiting = deque(schedule.open(cells))
    while waiting:
        trial = waiting.popleft()
        result = known.get(trial.key)
        if result is None or not result.ended:
            missing.append(trial)
            continue
        reused += 1
        _share_result(trial, result, plan.name, context.session)
        metrics = result.metrics if result.status == "finished" else None
        waiting.extend(schedule.ended(trial, metrics))
    if reused:
        total = reused + len(missing)
        context.session.say(
            f"{reused} of {total} trials have a result already and are not run again."
        )
    return missing, reused


def _share_result(trial: TrialSpec, result: TrialRecord, study: str, session: Session) -> None:
    if study not in result.studies:
        session.add(trial.key, ResultShared(result.run_id, study, trial.cell.arm))


def _make_progress(
    plan: Plan, todo: Sequence[TrialSpec], searches: Sequence[OpenSearch], console: Console
) -> StudyProgress:
    """Return a progress display with the expected numbers of trials and epochs."""
    trials = len(todo)
    epochs = sum(trial.config.trainer.epochs for trial in todo)
    for opened in searches:
        search_trials = count_remaining_proposals(opened) * len(opened.plan.seeds)
        expected = search_trials + plan.study.least_seeds
        trials += expected
        epochs += expected * opened.plan.epochs
    return StudyProgress(console, trials, epochs)


def _make_report(
    store: MlflowStore, record: StudyRecord, run_id: str, allow_mixed: bool, interrupted: bool
) -> tuple[Table, dict[str, str | bytes]]:
    """Build the table of a study and the files of its run.

    Args:
        store: The MLflow store.
        record: The study's record.
        run_id: Id of the study's MLflow run.
        allow_mixed: True if results of different revisions or machines may be combined.
        interrupted: True if the run was stopped; the report is not rebuilt then.

    Returns:
        The table, and files by name: the whole report if the table has changed, else the table.
    """
    # Imported late: training must not wait for the report packages.
    from ibml.report.study.page import FIGURES, FORMS
    from ibml.report.tables.render import render, render_files
    from ibml.report.tables.table import build_table

    results = load_results(store, record)
    table = build_table(record, results.records, allow_mixed)
    if interrupted or store.read_artifact_if_any(run_id, "table.json") == render(table, "json"):
        return table, render_files(table)
    had_figures = any(path.startswith(f"{FIGURES}/") for path in store.list_artifact_paths(run_id))
    forms = FORMS if had_figures else ()  # figures must not be older than the page
    return table, build_report_files(store, table, results, forms)
