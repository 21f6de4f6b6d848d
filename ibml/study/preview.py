"""What a study or a search would run, for `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ibml.config.resources import ResourcesConfig
from ibml.config.space import Between, ChoiceParameter, ConstantParameter
from ibml.config.trial import flatten
from ibml.search.plan import SearchPlan
from ibml.search.space import Dimension
from ibml.study.cells import Cell
from ibml.study.estimate import Cost, estimate
from ibml.study.keys import state_keys
from ibml.study.plan import Plan


def preview(plan: Plan, costs: Sequence[Cost] = (), share: bool = True) -> Group:
    """The design matrix: arms, levels of their factors, trials, epochs, and how each arm differs from the reference;
    what is trained of the epochs where trials `share` states; and what it would take, going by the costs of past
    trials."""
    several = len(plan.datasets) > 1
    crossed = plan.study.design.type == "factorial"
    factors = plan.design.factors if plan.study.design.type != "one_factor" else {}
    levels = {arm.name: arm.levels for arm in plan.design.arms}
    grid = Table(title=Text(plan.name, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ["data set"] if several else []:
        grid.add_column(heading)
    for heading in [] if crossed else ["arm"]:  # its levels say it all
        grid.add_column(heading)
    for name in factors:
        grid.add_column(Text(name), overflow="fold")
    grid.add_column("trials", justify="right")
    grid.add_column("epochs", justify="right")
    grid.add_column("" if factors else Text(f"differs from {plan.reference} in"), overflow="fold")
    least, most = plan.study.least_seeds, len(plan.study.all_seeds)
    for cell in plan.cells:
        epochs = cell.config.trained_epochs
        of_arm = [levels[cell.arm][name] for name in factors]
        counts = [_between(least, most), _between(least * epochs, most * epochs)]
        last = "reference" if cell.arm == plan.reference else "" if factors else _difference(cell)
        row = [*([] if crossed else [cell.arm]), *of_arm, *counts, last]
        grid.add_row(*map(Text, [cell.dataset, *row] if several else row))
    tuning = [_tuning(plan)] if plan.tuning else []
    found = estimate(plan, costs)
    lines = [*_switches(plan), *plan.notes, *tuning, _total(plan), *(_shared(plan) if share else [])]
    lines += [*([str(found)] if found else []), "Nothing was run."]
    return Group(Text(plan.study.description), grid, *map(Text, lines))


def _switches(plan: Plan) -> list[str]:
    """What switches each component off."""
    components = getattr(plan.study.design, "components", {})
    settings = {name: flatten(of) for name, of in components.items()}
    return [f"{name} off: {', '.join(f'{p}={_shown(v)}' for p, v in of.items())}" for name, of in settings.items()]


def _total(plan: Plan) -> str:
    least, most, cells = plan.study.least_seeds, len(plan.study.all_seeds), len(plan.cells)
    one_seed = sum(cell.config.trained_epochs for cell in plan.cells)
    what = "cells" if len(plan.datasets) > 1 else "arms"
    resources = plan.study.resources
    return (
        f"{_between(least * cells, most * cells)} trials ({cells} {what} × {_between(least, most)} seeds),"
        f" {_between(least * one_seed, most * one_seed)} epochs; a trial takes {resources.cpu:g} CPU and"
        f" {_gpu(resources)} GPU."
    )


def _shared(plan: Plan) -> list[str]:
    """How many epochs are trained where those are trained once in which trials train alike."""
    if plan.tuning:
        return []
    epochs: dict[bytes, int] = {}
    for cell in plan.cells:
        after = cell.config.trained_after
        for epoch, name in enumerate(state_keys(cell.config, "", "")):
            epochs[name] = after(epoch + 1) - after(epoch)
    once, every = sum(epochs.values()), sum(cell.config.trained_epochs for cell in plan.cells)
    if once == every:
        return []
    seeds = _between(plan.study.least_seeds * once, len(plan.study.all_seeds) * once)
    return [f"Trained once where trials train alike: {seeds} epochs, {once / every:.0%} (with --no-share all)."]


def _gpu(resources: ResourcesConfig) -> str:
    return "a share, found by a try," if resources.gpu == "auto" else f"{resources.gpu:g}"


def _between(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _tuning(plan: Plan) -> str:
    """What the searches of the arms come to before these trials."""
    searches = [(arm, arm.plan) for arm in plan.tuning if arm.plan]
    if not searches:
        return "Tuning: no arm has anything to tune."
    first = searches[0][1]
    epochs = sum(p.trials * len(p.seeds) * p.trained_epochs for _, p in searches)
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


def _difference(cell: Cell) -> str:
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
    epochs = plan.trials * len(plan.seeds) * plan.trained_epochs
    most = "at most " if config.scheduler.type != "none" or "trainer.epochs" in config.parameters else ""
    lines = [
        f"{aims}; sampler {config.sampler.type}, scheduler {config.scheduler.type}.",
        *(f"Note: {warning}." for warning in plan.warnings),
        f"{plan.trials} trials{size}{seeds}, {most}{epochs:,} epochs; a trial takes {config.resources.cpu:g} CPU and"
        f" {_gpu(config.resources)} GPU. Nothing was run.",
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
