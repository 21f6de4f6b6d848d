"""Arms of a study that a search tunes, and their part of the study's record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ibml.config.trial import build_canonical_form, flatten
from ibml.records import MetricRow, SearchRecord, Tuning
from ibml.search.search import Ending, Search
from ibml.study.engine.searches import OpenSearch, open_search
from ibml.study.engine.tasks import TrialTask
from ibml.study.options import RunContext
from ibml.study.planning.arm_search import ArmSearch, format_search_name
from ibml.study.planning.cells import Cell
from ibml.study.planning.plan import Plan
from ibml.study.planning.seed_schedule import SeedSchedule
from ibml.study.planning.trials import TrialSpec


@dataclass
class TunedArm:
    """An arm on a data set, with its search if it has one."""

    plan: ArmSearch
    opened: OpenSearch | None

    @property
    def cell(self) -> Cell | None:
        """What is evaluated: the arm as it is, or with the best values of its search once that is done."""
        if self.opened is None:
            return self.plan.cell
        search = self.opened.search
        return _apply_best(self.plan.cell, search) if search.done and search.best else None


class StudyFollowUps:
    """Trials that follow from results of a study: further seeds, and the evaluation of tuned arms.

    Args:
        schedule: The seeds of the arms.
        arms: The arms that are tuned.
        run_id: The study's run in the store.
        tags: Tags of every trial's run.
    """

    def __init__(
        self, schedule: SeedSchedule, arms: Sequence[TunedArm], run_id: str, tags: dict[str, str]
    ):
        self.schedule, self.run_id, self.tags = schedule, run_id, tags
        self._cells = {arm.opened.search.name: arm.plan.cell for arm in arms if arm.opened}

    def make_tasks(self, specs: Iterable[TrialSpec]) -> list[TrialTask]:
        """Return tasks for planned trials."""
        return [TrialTask(spec, self.run_id, self.tags) for spec in specs]

    def after_trial(self, task: TrialTask, ending: Ending, final: MetricRow) -> list[TrialTask]:
        """Return the trials with further seeds that an adaptive study needs."""
        return self.make_tasks(
            self.schedule.ended(task.spec, final if ending == "finished" else None)
        )

    def after_search(self, search: Search) -> list[TrialTask]:
        """Return the evaluation of an arm with the best values of its search, with fresh seeds."""
        cell = self._cells[search.name]
        if search.best is None:
            return self.make_tasks(self.schedule.drop(cell))
        return self.make_tasks(self.schedule.open([_apply_best(cell, search)]))


def open_arms(plan: Plan, context: RunContext) -> list[TunedArm]:
    """Open the searches of a study's arms."""
    return [TunedArm(arm, _open_arm_search(plan, arm, context)) for arm in plan.tuning]


def _open_arm_search(plan: Plan, arm: ArmSearch, context: RunContext) -> OpenSearch | None:
    if arm.plan is None:
        return None
    cell = arm.cell
    name = format_search_name(plan.name, cell, len(plan.datasets) > 1)
    populations = context.session.workspace.populations
    opened = open_search(arm.plan, context.database, populations, name, context.options.new_version)
    opened.arm, opened.dataset = cell.arm, cell.dataset
    return opened


def _apply_best(cell: Cell, search: Search) -> Cell:
    """Return the arm with the best values of its search."""
    assert search.best is not None, "a search without a complete trial tunes nothing"
    values, config = search.get_configuration(search.best)
    return Cell(cell.dataset, cell.arm, config, {**cell.changes, **flatten(values)}, cell.pinned)


def describe_tuning(arm: TunedArm, record: SearchRecord | None) -> Tuning:
    """Return what the study's record says about an arm's search."""
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


def describe_budget(plan: Plan, arms: Sequence[TunedArm], tuning: Sequence[Tuning]) -> str:
    """Return the table note on the budget of the arms' searches, and what they trained."""
    plans = [arm.plan.plan for arm in arms if arm.plan.plan]
    if not plans:
        return ""
    config, seeds = plans[0].config, len(plans[0].seeds)
    most = max(p.trials for p in plans)
    fewer = (
        " (or all there are of a grid with fewer)" if any(p.trials < most for p in plans) else ""
    )
    several = len(plan.datasets) > 1
    names = [f"{t.dataset} · {t.arm}" if several else t.arm for t in tuning]
    trained = [
        f"{name} {t.trials} ({t.epochs:,} epochs)"
        for name, t in zip(names, tuning, strict=True)
        if t.search
    ]
    alone = [name for name, t in zip(names, tuning, strict=True) if not t.search]
    unfinished = any(arm.opened and not arm.opened.search.done for arm in arms)
    note = (
        f"Tuning: {most} trials{f' of {seeds} seeds' if seeds > 1 else ''} for each arm{fewer}, sampler"
        f" {config.sampler.type} (seed {config.sampler.seed}), scheduler {config.scheduler.type}, by"
        f" {config.objectives[0].metric} with seeds from {plans[0].seeds[0]} on; the best is evaluated on other seeds."
        f" Trained{' so far' if unfinished else ''}: {', '.join(trained)}."
    )
    note += f" Nothing to tune in {', '.join(alone)}." if alone else ""
    return note + _describe_duplicates(arms, several)


def _describe_duplicates(arms: Sequence[TunedArm], several: bool) -> str:
    """Return a note on arms that were tuned to the same configuration, whose comparison has no meaning."""
    found: dict[str, list[str]] = {}
    for arm in arms:
        if cell := arm.cell:
            form = json.dumps(
                build_canonical_form(cell.config.model_copy(update={"seed": 0})), sort_keys=True
            )
            found.setdefault(form, []).append(
                f"{cell.dataset} · {cell.arm}" if several else cell.arm
            )
    return "".join(
        f" THE SAME configuration was chosen for {' and '.join(t)}."
        for t in found.values()
        if len(t) > 1
    )
