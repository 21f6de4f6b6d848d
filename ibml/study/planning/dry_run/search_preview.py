"""What a search would try, for `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ibml.config.resources import ResourcesConfig
from ibml.config.search.space import Between, ChoiceParameter, ConstantParameter
from ibml.search.plan import SearchPlan
from ibml.search.space import Dimension
from ibml.study.planning.dry_run.search_peek import SearchPeek


def preview_search(plan: SearchPlan, past: SearchPeek = SearchPeek()) -> Group:  # noqa: B008
    """What a search varies, what it would cost, and how much of it a database has."""
    config = plan.config
    grid = Table(
        title=Text(plan.name, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("parameter", "values", "only when"):
        grid.add_column(heading, overflow="fold")
    for dimension in plan.space.dimensions:
        when = ", ".join(
            f"{path}: {_format_condition(value)}"
            for path, value in dimension.parameter.when.items()
        )
        grid.add_row(Text(dimension.path), Text(_format_values(dimension)), Text(when))
    aims = ", ".join(f"{objective.sense} {objective.metric}" for objective in config.objectives)
    size = f" of {plan.space.size:,} different ones" if plan.space.size else ""
    seeds = f" × {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else ""
    epochs = plan.trials * len(plan.seeds) * plan.trained_epochs
    most = (
        "at most "
        if config.scheduler.type != "none" or "trainer.epochs" in config.parameters
        else ""
    )
    lines = [
        f"{aims}; sampler {config.sampler.type}, scheduler {config.scheduler.type}.",
        *(f"Note: {warning}." for warning in plan.warnings),
        f"{plan.trials} trials{size}{seeds}, {most}{epochs:,} epochs; a trial takes {config.resources.cpu:g} CPU and"
        f" {format_gpu(config.resources)} GPU.",
        describe_proposals(past, [(plan.name, plan)]),
        "Nothing was run.",
    ]
    return Group(Text(config.description), grid, *map(Text, lines))


def describe_proposals(past: SearchPeek, searches: Sequence[tuple[str, SearchPlan]]) -> str:
    """Return how many trials of searches, by their names, are done, and what is left of them."""
    if past.problem:
        return f"{past.problem}; how many trials are done is not known."
    versions = [past.find_version(plan, name) for name, plan in searches]
    done = [
        min(plan.trials, past.done.get(known or "", 0))
        for (_, plan), known in zip(searches, versions, strict=True)
    ]
    left = [plan.trials - ended for (_, plan), ended in zip(searches, done, strict=True)]
    pairs = [(plan, number) for (_, plan), number in zip(searches, left, strict=True)]
    epochs = sum(number * len(plan.seeds) * plan.trained_epochs for plan, number in pairs)
    others = [
        name
        for (name, _), known in zip(searches, versions, strict=True)
        if known is None and past.has(name)
    ]
    note = (
        f" The database has {others[0]!r} with other settings: say --new-version for another one."
        if others
        else ""
    )
    config = searches[0][1].config
    most = (
        "at most "
        if config.scheduler.type != "none" or "trainer.epochs" in config.parameters
        else ""
    )
    rest = f"{sum(left):,} with {most}{epochs:,} epochs" if sum(left) else "nothing"
    several = "es" if len(searches) > 1 else ""
    every = sum(done) + sum(left)
    return f"{sum(done):,} of {every:,} trials of the search{several} are done; left to train: {rest}.{note}"


def _format_values(dimension: Dimension) -> str:
    p = dimension.parameter
    if isinstance(p, ConstantParameter):
        return f"{format_setting(p.value)} (constant)"
    if isinstance(p, ChoiceParameter):
        return ", ".join(map(format_setting, p.choices))
    how = (
        ", logarithmic"
        if p.log
        else f", step {p.step:g}"
        if p.step
        else ", whole numbers"
        if dimension.whole
        else ""
    )
    return f"{p.low:g} to {p.high:g}{how}"


def _format_condition(condition: Any) -> str:
    if isinstance(condition, Between):
        bounds = (
            f">= {condition.low:g}" if condition.low is not None else "",
            f"<= {condition.high:g}" if condition.high is not None else "",
        )
        return " and ".join(filter(None, bounds))
    return (
        " or ".join(map(format_setting, condition))
        if isinstance(condition, tuple)
        else format_setting(condition)
    )


def format_gpu(resources: ResourcesConfig) -> str:
    """Return the share of a GPU that a trial takes, in words."""
    return "a share, found by a try," if resources.gpu == "auto" else f"{resources.gpu:g}"


def format_setting(value: Any) -> str:
    """Return a value of a configuration as a table has it."""
    return "none" if value is None else str(value)
