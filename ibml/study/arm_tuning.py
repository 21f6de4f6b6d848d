"""Arms of a study that are tuned by a search, and their part of the study's record."""

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
    """An arm on a data set, with its search.

    Attributes:
        plan: The arm and the plan of its search.
        opened: The search; None if the arm has nothing to tune.
    """

    plan: ArmSearch
    opened: OpenSearch | None

    @property
    def cell(self) -> Cell | None:
        """Cell to evaluate: with the best values of the search, or unchanged without a search.

        None until the search is done, or if no trial of the search is complete.
        """
        if self.opened is None:
            return self.plan.cell
        search = self.opened.search
        return _apply_best(self.plan.cell, search) if search.done and search.best else None


class StudyFollowUps:
    """Trials that a study adds after results: further seeds, and the evaluation of tuned arms.

    Args:
        schedule: Seeds of the arms.
        arms: Tuned arms.
        run_id: Id of the study's MLflow run.
        tags: Tags for the run of every trial.
    """

    def __init__(
        self, schedule: SeedSchedule, arms: Sequence[TunedArm], run_id: str, tags: dict[str, str]
    ):
        self.schedule, self.run_id, self.tags = schedule, run_id, tags
        self._cells = {arm.opened.search.name: arm.plan.cell for arm in arms if arm.opened}

    def make_tasks(self, specs: Iterable[TrialSpec]) -> list[TrialTask]:
        """Return the tasks for planned trials."""
        return [TrialTask(spec, self.run_id, self.tags) for spec in specs]

    def after_trial(self, task: TrialTask, ending: Ending, final: MetricRow) -> list[TrialTask]:
        """Return the trials with further seeds that an adaptive study needs.

        Args:
            task: The trial that has ended.
            ending: How it ended.
            final: Its final metrics.

        Returns:
            Tasks to add; empty if the seeds of the arms are fixed or decided.
        """
        metrics = final if ending == "finished" else None
        return self.make_tasks(self.schedule.ended(task.spec, metrics))

    def after_search(self, search: Search) -> list[TrialTask]:
        """Return the trials that evaluate an arm with the best values of its search.

        The evaluation uses other seeds than the search.

        Args:
            search: The search that has finished.

        Returns:
            Tasks to add, of other arms too if the search has no best trial.
        """
        cell = self._cells[search.name]
        if search.best is None:
            return self.make_tasks(self.schedule.drop(cell))
        return self.make_tasks(self.schedule.open([_apply_best(cell, search)]))


def open_arms(plan: Plan, context: RunContext) -> list[TunedArm]:
    """Open the searches of all tuned arms of a study."""
    return [TunedArm(arm, _open_arm_search(plan, arm, context)) for arm in plan.tuning]


def _open_arm_search(plan: Plan, arm: ArmSearch, context: RunContext) -> OpenSearch | None:
    """Open the search of one arm; None if the arm has nothing to tune."""
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
    """Return the entry of the study's record about an arm's search.

    Args:
        arm: The arm.
        record: The record of its search; None if the arm has nothing to tune.

    Returns:
        The entry.
    """
    cell = arm.plan.cell
    if record is None:
        return Tuning(arm=cell.arm, dataset=cell.dataset, fixed=arm.plan.fixed)
    proposals = {proposal.number: proposal for proposal in record.proposals}
    best = None if record.best is None else proposals.get(record.best)
    return Tuning(
        search=record.name,
        arm=cell.arm,
        dataset=cell.dataset,
        trials=len(record.proposals),
        epochs=sum(proposal.epochs for proposal in record.proposals),
        params=record.best_params,
        metric=record.objectives[0][0],
        value=best.values[0] if best and best.values else None,
        exhausted=arm.opened is not None and arm.opened.search.done and best is None,
        fixed=arm.plan.fixed,
    )


def describe_budget(plan: Plan, arms: Sequence[TunedArm], tuning: Sequence[Tuning]) -> str:
    """Return the table note on the budget of the arms' searches, and the trials they trained.

    Args:
        plan: The study.
        arms: Tuned arms.
        tuning: Entries of the study's record, in the order of `arms`.

    Returns:
        The note; empty if no arm has anything to tune.
    """
    plans = [arm.plan.plan for arm in arms if arm.plan.plan]
    if not plans:
        return ""
    config, seeds = plans[0].config, len(plans[0].seeds)
    most = max(p.trials for p in plans)
    trials = f"{most} trials"
    if seeds > 1:
        trials += f" of {seeds} seeds"
    trials += " for each arm"
    if any(p.trials < most for p in plans):
        trials += " (or all there are of a grid with fewer)"
    several = len(plan.datasets) > 1
    trained, untuned = [], []
    for entry in tuning:
        name = _format_label(entry.dataset, entry.arm, several)
        if entry.search:
            trained.append(f"{name} {entry.trials} ({entry.epochs:,} epochs)")
        else:
            untuned.append(name)
    trained_label = "Trained"
    if any(arm.opened and not arm.opened.search.done for arm in arms):
        trained_label += " so far"
    note = (
        f"Tuning: {trials}, sampler {config.sampler.type} (seed {config.sampler.seed}),"
        f" scheduler {config.scheduler.type}, by {config.objectives[0].metric}"
        f" with seeds from {plans[0].seeds[0]} on; the best is evaluated on other seeds."
        f" {trained_label}: {', '.join(trained)}."
    )
    if untuned:
        note += f" Nothing to tune in {', '.join(untuned)}."
    return note + _describe_duplicates(arms, several)


def _describe_duplicates(arms: Sequence[TunedArm], several: bool) -> str:
    """Return a note on arms with the same tuned configuration: comparing them has no meaning."""
    labels_by_config: dict[str, list[str]] = {}
    for arm in arms:
        if cell := arm.cell:
            config = cell.config.model_copy(update={"seed": 0})
            form = json.dumps(build_canonical_form(config), sort_keys=True)
            label = _format_label(cell.dataset, cell.arm, several)
            labels_by_config.setdefault(form, []).append(label)
    note = ""
    for labels in labels_by_config.values():
        if len(labels) > 1:
            note += f" THE SAME configuration was chosen for {' and '.join(labels)}."
    return note


def _format_label(dataset: str, arm: str, several_datasets: bool) -> str:
    return f"{dataset} · {arm}" if several_datasets else arm
