"""Runs what a plan lacks: the searches of its arms, then the trials of the table, in one Ray run."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console

from ibml.config.records import SearchRecord, StudyRecord, TrialRecord, Tuning
from ibml.config.trial import canonical, flatten
from ibml.search.database import Database
from ibml.search.search import Ending, Search
from ibml.storage import Place
from ibml.study.arm_searches import ArmSearch, search_name
from ibml.study.cells import Cell
from ibml.study.driver import Driver
from ibml.study.outcome import Outcome
from ibml.study.plan import Plan
from ibml.study.progress import StudyProgress
from ibml.study.queue import SearchSource, Task
from ibml.study.record import study_record
from ibml.study.schedule import SeedSchedule
from ibml.study.searching import OpenSearch, SearchReport, open_search, proposals_left, run_driver
from ibml.study.stages import Stages
from ibml.study.trials import PlannedTrial, planned_trials
from ibml.tracking.entries import Share
from ibml.tracking.session import Session
from ibml.version import code_revision


@dataclass
class Arm:
    """An arm on a data set, with its search where it has one."""

    plan: ArmSearch
    opened: OpenSearch | None

    @property
    def cell(self) -> Cell | None:
        """What is evaluated: the arm as it is or with the best values of its search, once that is done."""
        if self.opened is None:
            return self.plan.cell
        search = self.opened.search
        return _tuned(self.plan.cell, search) if search.done and search.best else None


def run_study(
    plan: Plan,
    session: Session,
    known: dict[str, TrialRecord],
    run_id: str,
    address: str | None,
    console: Console,
    database: Database,
    report: SearchReport,
    stages: Stages,
    new_version: bool = False,
) -> tuple[Outcome, StudyRecord]:
    """Run what has no result in `known` (the store's, by key), below the study's run: where arms are tuned, all their
    searches side by side, and each arm's trials with fresh seeds once its best is known. Gives how it went and the
    study's record.

    Raises `ClusterError`, `TrackingError` and `SearchDatabaseError`.
    """
    tags = {"ibml.study": plan.name, "ibml.revision": code_revision()}
    populations = session.workspace.populations
    arms = [Arm(arm, _open(plan, arm, database, populations, new_version)) for arm in plan.tuning]
    searched = [arm.opened for arm in arms if arm.opened]
    fixed = [arm.plan.cell for arm in arms if not arm.opened] if arms else plan.cells
    schedule = SeedSchedule(plan)
    todo, reused = _todo(plan, schedule, fixed, known, session)

    def follow(task: Task, ending: Ending, final: Mapping[str, float]) -> list[Task]:
        more = schedule.ended(task.trial, final if ending == "finished" else None)
        return [Task(trial, run_id, tags) for trial in more]

    with ExitStack() as stack:
        for opened in searched:
            opened.run = stack.enter_context(
                session.store.open_run("search", opened.record(), opened.plan.text, run_id, driver=session.presence.id)
            )
            opened.tags = {"ibml.revision": tags["ibml.revision"]}
        sources = [
            SearchSource(arm.opened.search, arm.opened.task, _evaluation(schedule, arm.plan.cell, run_id, tags))
            for arm in arms
            if arm.opened
        ]
        tasks = [Task(trial, run_id, tags) for trial in todo]
        progress = _progress(plan, todo, searched, console)
        driver = Driver(tasks, sources, known, session, progress, database.url, follow, stages)
        outcome = run_driver(driver, plan.name, plan.study.resources, address, [cell.config for cell in plan.cells])
        outcome.reused += reused
        session.require_all()
        records = [arm.opened.close(outcome, report) if arm.opened else None for arm in arms]
    cells = [cell for arm in arms if (cell := arm.cell)] if arms else plan.cells
    tuning = [_tuning(arm, record) for arm, record in zip(arms, records, strict=True)]
    return outcome, study_record(plan, planned_trials(plan, cells), tuning, _budget(plan, arms, tuning))


def _open(plan: Plan, arm: ArmSearch, database: Database, populations: Place, new_version: bool) -> OpenSearch | None:
    if arm.plan is None:
        return None
    cell = arm.cell
    name = search_name(plan.name, cell, len(plan.datasets) > 1)
    opened = open_search(arm.plan, database, populations, name, new_version)
    opened.arm, opened.dataset = cell.arm, cell.dataset
    return opened


def _todo(
    plan: Plan,
    schedule: SeedSchedule,
    cells: Sequence[Cell],
    known: dict[str, TrialRecord],
    session: Session,
) -> tuple[list[PlannedTrial], int]:
    """The trials without a result, and how many have one; those become part of this study too."""
    todo, reused = [], 0
    waiting = deque(schedule.open(cells))
    while waiting:
        trial = waiting.popleft()
        result = known.get(trial.key)
        if result is None or not result.ended:
            todo.append(trial)
            continue
        reused += 1
        if plan.name not in result.studies:
            session.add(trial.key, Share(result.run_id, plan.name, trial.cell.arm))
        waiting.extend(schedule.ended(trial, result.metrics if result.status == "finished" else None))
    if reused:
        total = reused + len(todo)
        session.say(f"{reused} of {total} trials have a result already and are not run again.")
    return todo, reused


def _evaluation(
    schedule: SeedSchedule, cell: Cell, run_id: str, tags: dict[str, str]
) -> Callable[[Search], Iterable[Task]]:
    """The trials with fresh seeds that follow an arm's search."""

    def tasks(search: Search) -> Iterable[Task]:
        if search.best is None:
            return [Task(trial, run_id, tags) for trial in schedule.drop(cell)]
        return [Task(trial, run_id, tags) for trial in schedule.open([_tuned(cell, search)])]

    return tasks


def _tuned(cell: Cell, search: Search) -> Cell:
    """The arm with the best values of its search."""
    assert search.best is not None, "a search without a complete trial tunes nothing"
    values, config = search.configuration(search.best)
    return Cell(cell.dataset, cell.arm, config, {**cell.changes, **flatten(values)}, cell.pinned)


def _progress(
    plan: Plan, todo: Sequence[PlannedTrial], searched: Sequence[OpenSearch], console: Console
) -> StudyProgress:
    trials, epochs = len(todo), sum(trial.config.trainer.epochs for trial in todo)
    for opened in searched:
        expected = proposals_left(opened) * len(opened.plan.seeds) + plan.study.least_seeds
        trials += expected
        epochs += expected * opened.plan.epochs
    return StudyProgress(console, trials, epochs)


def _tuning(arm: Arm, record: SearchRecord | None) -> Tuning:
    cell = arm.plan.cell
    if record is None:
        return Tuning(arm=cell.arm, dataset=cell.dataset, fixed=arm.plan.fixed)
    best = next((p for p in record.proposals if p.number == record.best), None)
    return Tuning(
        search=record.name,
        arm=cell.arm,
        dataset=cell.dataset,
        trials=len(record.proposals),
        epochs=sum(p.epochs for p in record.proposals),
        params=record.best_params,
        metric=record.objectives[0][0],
        value=best.values[0] if best and best.values else None,
        exhausted=arm.opened is not None and arm.opened.search.done and best is None,
        fixed=arm.plan.fixed,
    )


def _budget(plan: Plan, arms: Sequence[Arm], tuning: Sequence[Tuning]) -> str:
    """What every arm's search could spend and did, for the foot of the table."""
    plans = [arm.plan.plan for arm in arms if arm.plan.plan]
    if not plans:
        return ""
    config, seeds = plans[0].config, len(plans[0].seeds)
    most = max(p.trials for p in plans)
    fewer = " (or all there are of a grid with fewer)" if any(p.trials < most for p in plans) else ""
    several = len(plan.datasets) > 1
    names = [f"{t.dataset} · {t.arm}" if several else t.arm for t in tuning]
    trained = [f"{name} {t.trials} ({t.epochs:,} epochs)" for name, t in zip(names, tuning, strict=True) if t.search]
    alone = [name for name, t in zip(names, tuning, strict=True) if not t.search]
    unfinished = any(arm.opened and not arm.opened.search.done for arm in arms)
    note = (
        f"Tuning: {most} trials{f' of {seeds} seeds' if seeds > 1 else ''} for each arm{fewer}, sampler"
        f" {config.sampler.type} (seed {config.sampler.seed}), scheduler {config.scheduler.type}, by"
        f" {config.objectives[0].metric} with seeds from {plans[0].seeds[0]} on; the best is evaluated on other seeds."
        f" Trained{' so far' if unfinished else ''}: {', '.join(trained)}."
    )
    return note + (f" Nothing to tune in {', '.join(alone)}." if alone else "") + _twins(arms, several)


def _twins(arms: Sequence[Arm], several: bool) -> str:
    """Arms that ended as the same configuration, whose comparison says nothing."""
    found: dict[str, list[str]] = {}
    for arm in arms:
        if cell := arm.cell:
            form = json.dumps(canonical(cell.config.model_copy(update={"seed": 0})), sort_keys=True)
            found.setdefault(form, []).append(f"{cell.dataset} · {cell.arm}" if several else cell.arm)
    return "".join(f" THE SAME configuration was chosen for {' and '.join(t)}." for t in found.values() if len(t) > 1)
