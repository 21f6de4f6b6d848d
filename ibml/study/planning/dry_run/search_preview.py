"""Preview of a search for `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ibml.config.resources import ResourcesConfig
from ibml.config.search.space import (
    Between,
    ChoiceParameter,
    ConstantParameter,
    SearchSpaceConfig,
)
from ibml.search.plan import SearchPlan
from ibml.search.space import Dimension, list_condition_values
from ibml.study.planning.dry_run.search_peek import SearchPeek


def preview_search(plan: SearchPlan, past: SearchPeek = SearchPeek()) -> Group:  # noqa: B008
    """Return a preview of a search: its parameters, its cost, and the trials that are done.

    Args:
        plan: Plan of the search.
        past: Searches of the database.

    Returns:
        Text and a table to print.
    """
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
        conditions = dimension.parameter.when.items()
        when = ", ".join(f"{path}: {_format_condition(value)}" for path, value in conditions)
        grid.add_row(Text(dimension.path), Text(_format_values(dimension)), Text(when))
    aims = ", ".join(f"{objective.sense} {objective.metric}" for objective in config.objectives)
    size = f" of {plan.space.size:,} possible ones" if plan.space.size else ""
    seeds = f" × {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else ""
    epochs = plan.trials * len(plan.seeds) * plan.trained_epochs
    lines = [
        f"{aims}; sampler {config.sampler.type}, scheduler {config.scheduler.type}.",
        *(f"Note: {warning}." for warning in plan.warnings),
        f"{plan.trials} trials{size}{seeds}, {_format_bound(config)}{epochs:,} epochs; a trial"
        f" takes {config.resources.cpu:g} CPU and {format_gpu(config.resources)} GPU.",
        describe_search_progress(past, [(plan.name, plan)]),
        "Nothing was run.",
    ]
    return Group(Text(config.description), grid, *map(Text, lines))


def describe_search_progress(past: SearchPeek, searches: Sequence[tuple[str, SearchPlan]]) -> str:
    """Return how many trials of searches are done, and how many are left.

    Args:
        past: Searches of the database.
        searches: Names and plans of the searches.

    Returns:
        One or two sentences.
    """
    if past.problem:
        return f"{past.problem}; the number of done trials is not known."
    done = left = epochs = 0
    other = ""
    for name, plan in searches:
        version = past.find_version(plan, name)
        if version is None and past.has(name):
            other = other or name
        ended = min(plan.trials, past.done.get(version or "", 0))
        remaining = plan.trials - ended
        done += ended
        left += remaining
        epochs += remaining * len(plan.seeds) * plan.trained_epochs
    note = ""
    if other:
        note = (
            f" The database has {other!r} with other settings: use --new-version to start a new"
            " version."
        )
    rest = "nothing"
    if left:
        rest = f"{left:,} with {_format_bound(searches[0][1].config)}{epochs:,} epochs"
    several = "es" if len(searches) > 1 else ""
    return (
        f"{done:,} of {done + left:,} trials of the search{several} are done; left to train:"
        f" {rest}.{note}"
    )


def _format_bound(config: SearchSpaceConfig) -> str:
    """Return `at most ` if trials may have fewer epochs than the maximum."""
    is_fixed = config.scheduler.type == "none" and "trainer.epochs" not in config.parameters
    return "" if is_fixed else "at most "


def _format_values(dimension: Dimension) -> str:
    p = dimension.parameter
    if isinstance(p, ConstantParameter):
        return f"{format_setting(p.value)} (constant)"
    if isinstance(p, ChoiceParameter):
        return ", ".join(map(format_setting, p.choices))
    kind = ""
    if p.log:
        kind = ", logarithmic"
    elif p.step:
        kind = f", step {p.step:g}"
    elif dimension.whole:
        kind = ", whole numbers"
    return f"{p.low:g} to {p.high:g}{kind}"


def _format_condition(condition: Any) -> str:
    if isinstance(condition, Between):
        bounds = []
        if condition.low is not None:
            bounds.append(f">= {condition.low:g}")
        if condition.high is not None:
            bounds.append(f"<= {condition.high:g}")
        return " and ".join(bounds)
    return " or ".join(map(format_setting, list_condition_values(condition)))


def format_gpu(resources: ResourcesConfig) -> str:
    """Return the share of a GPU that a trial takes, in words."""
    return "a measured share of a" if resources.gpu == "auto" else f"{resources.gpu:g}"


def format_setting(value: Any) -> str:
    """Return a value of a configuration for a table."""
    return "none" if value is None else str(value)
