"""What a study or a search would run, for `--dry-run`."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ibml.config.space import Between, ChoiceParameter, ConstantParameter
from ibml.search.plan import SearchPlan
from ibml.search.space import Dimension
from ibml.study.cells import Cell
from ibml.study.plan import Plan


def preview(plan: Plan) -> Group:
    """Arms, trials, epochs, and how each arm differs from the reference."""
    several = len(plan.datasets) > 1
    grid = Table(title=Text(plan.study.name, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ["data set"] if several else []:
        grid.add_column(heading)
    grid.add_column("arm")
    grid.add_column("trials", justify="right")
    grid.add_column("epochs", justify="right")
    grid.add_column(f"differs from {plan.reference} in", overflow="fold")
    seeds = len(plan.study.all_seeds)
    for cell in plan.cells:
        epochs = seeds * cell.config.trainer.epochs
        row = [cell.arm, str(seeds), str(epochs), _difference(cell, plan.reference)]
        grid.add_row(*map(Text, [cell.dataset, *row] if several else row))
    resources = plan.study.resources
    total = (
        f"{plan.trials} trials ({len(plan.cells)} arms × {seeds} seeds), {plan.epochs:,} epochs;"
        f" a trial takes {resources.cpu:g} CPU and {resources.gpu:g} GPU. Nothing was run."
    )
    tuning = [_tuning(plan)] if plan.tuning else []
    return Group(Text(plan.study.description), grid, *map(Text, [*plan.notes, *tuning, total]))


def _tuning(plan: Plan) -> str:
    """What the searches of the arms come to before these trials."""
    searches = [(arm, arm.plan) for arm in plan.tuning if arm.plan]
    if not searches:
        return "Tuning: no arm has anything to tune."
    first = searches[0][1]
    epochs = sum(p.trials * len(p.seeds) * p.epochs for _, p in searches)
    most = max(p.trials for _, p in searches)
    fewer = "at most " if any(p.trials < most for _, p in searches) else ""
    fixed = [f"{arm.cell.arm}: {', '.join(arm.fixed)}" for arm in plan.tuning if arm.fixed]
    text = (
        f"Tuning before that: {len(searches)} searches × {fewer}{most} trials"
        f"{f' × {len(first.seeds)} seeds' if len(first.seeds) > 1 else ''} = {plan.tuning_trials} trials, "
        f"{'at most ' if first.config.scheduler.type != 'none' else ''}{epochs:,} epochs; sampler"
        f" {first.config.sampler.type}, scheduler {first.config.scheduler.type}."
    )
    return text + (f" Not searched in {'; in '.join(fixed)}." if fixed else "")


def _difference(cell: Cell, reference: str) -> str:
    if cell.arm == reference:
        return "(the reference)"
    return ", ".join(f"{path}: {_shown(value)}" for path, value in cell.changes.items())


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def preview_search(plan: SearchPlan) -> Group:
    """What a search varies, and what it would cost."""
    config = plan.config
    grid = Table(title=Text(plan.name, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("parameter", "values", "only when"):
        grid.add_column(heading, overflow="fold")
    for dimension in plan.space.dimensions:
        when = ", ".join(f"{path}: {_condition(value)}" for path, value in dimension.parameter.when.items())
        grid.add_row(Text(dimension.path), Text(_values(dimension)), Text(when))
    aims = ", ".join(f"{objective.sense} {objective.metric}" for objective in config.objectives)
    size = f" of {plan.space.size:,} different ones" if plan.space.size else ""
    seeds = f" × {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else ""
    epochs = plan.trials * len(plan.seeds) * plan.epochs
    most = "at most " if config.scheduler.type != "none" or "trainer.epochs" in config.parameters else ""
    lines = [
        f"{aims}; sampler {config.sampler.type}, scheduler {config.scheduler.type}.",
        *(f"Note: {warning}." for warning in plan.warnings),
        f"{plan.trials} trials{size}{seeds}, {most}{epochs:,} epochs; a trial takes {config.resources.cpu:g} CPU and"
        f" {config.resources.gpu:g} GPU. Nothing was run.",
    ]
    return Group(Text(config.description), grid, *map(Text, lines))


def _values(dimension: Dimension) -> str:
    p = dimension.parameter
    if isinstance(p, ConstantParameter):
        return f"{_shown(p.value)} (constant)"
    if isinstance(p, ChoiceParameter):
        return ", ".join(map(_shown, p.choices))
    how = ", logarithmic" if p.log else f", step {p.step:g}" if p.step else ", whole numbers" if dimension.whole else ""
    return f"{p.low:g} to {p.high:g}{how}"


def _condition(condition: Any) -> str:
    if isinstance(condition, Between):
        bounds = (
            f">= {condition.low:g}" if condition.low is not None else "",
            f"<= {condition.high:g}" if condition.high is not None else "",
        )
        return " and ".join(filter(None, bounds))
    return " or ".join(map(_shown, condition)) if isinstance(condition, tuple) else _shown(condition)
