"""Preview of a study for `--dry-run`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ibml.config.trial import flatten
from ibml.search.plan import SearchPlan
from ibml.search.space import is_at_or_below
from ibml.study.planning.arm_search import format_search_name
from ibml.study.planning.cells import Cell
from ibml.study.planning.dry_run.duration_estimate import SECONDS, collect_costs, estimate_duration
from ibml.study.planning.dry_run.remaining import count_remaining
from ibml.study.planning.dry_run.search_peek import SearchPeek
from ibml.study.planning.dry_run.search_preview import (
    describe_search_progress,
    format_gpu,
    format_setting,
)
from ibml.study.planning.keys import compute_prefix_keys
from ibml.study.planning.plan import Plan
from ibml.tracking.store.peek import Peek


def list_preview_metrics(plan: Plan) -> list[str]:
    """Return the metrics of past trials that a preview needs."""
    adaptive = plan.study.adaptive
    return [SECONDS, adaptive.get_deciding_metric(plan.metrics)] if adaptive else [SECONDS]


def preview_study(
    plan: Plan,
    past: Peek = Peek(),  # noqa: B008
    searches: SearchPeek = SearchPeek(),  # noqa: B008
    share: bool = True,
    rerun: bool = False,
) -> Group:
    """Return a preview of a study.

    It shows the design matrix with the differences of each arm from the reference, the numbers of
    trials and epochs, those that are left to train, and the estimated duration.

    Args:
        plan: Plan of the study.
        past: Trials of the store.
        searches: Searches of the database.
        share: True if trials share common training prefixes.
        rerun: True if trials with a result are trained again.

    Returns:
        Text and a table to print.
    """
    found = estimate_duration(plan, collect_costs(past.trials))
    lines = [*_describe_switches(plan), *plan.notes]
    lines += [f"Note: {warning}." for warning in plan.warnings]
    if plan.tuning:
        lines.append(_describe_tuning(plan))
    lines.append(_describe_total(plan))
    if share:
        lines += _describe_sharing(plan)
    if any(arm.plan for arm in plan.tuning):
        lines.append(describe_search_progress(searches, _list_searches(plan)))
    lines += _describe_results(plan, past, rerun)
    if found:
        lines.append(str(found))
    lines.append("Nothing was run.")
    return Group(Text(plan.study.description), _build_grid(plan), *map(Text, lines))


def _build_grid(plan: Plan) -> Table:
    """Return the design matrix: a row per cell, with a column per factor of a crossed design."""
    several = len(plan.datasets) > 1
    show_arm = plan.study.design.type != "factorial"  # the levels identify an arm
    factors = list(plan.design.factors) if plan.study.design.type != "one_factor" else []
    levels = {arm.name: arm.levels for arm in plan.design.arms}
    grid = Table(
        title=Text(plan.name, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    if several:
        grid.add_column("data set")
    if show_arm:
        grid.add_column("arm")
    for name in factors:
        grid.add_column(Text(name), overflow="fold")
    grid.add_column("trials", justify="right")
    grid.add_column("epochs", justify="right")
    heading = "" if factors else f"differs from {plan.reference} in"
    grid.add_column(Text(heading), overflow="fold")
    set_by = {cell.dataset: cell.pinned for cell in plan.cells if cell.arm == plan.reference}
    least, most = plan.study.least_seeds, len(plan.study.all_seeds)
    for cell in plan.cells:
        epochs = cell.config.trained_epochs
        row = [cell.dataset] if several else []
        if show_arm:
            row.append(cell.arm)
        row += [levels[cell.arm][name] for name in factors]
        row.append(_format_range(least, most))
        row.append(_format_range(least * epochs, most * epochs))
        if cell.arm == plan.reference:
            row.append("reference")
        elif factors:
            row.append("")
        else:
            row.append(_describe_difference(cell, set_by.get(cell.dataset, ())))
        grid.add_row(*map(Text, row))
    return grid


def _describe_switches(plan: Plan) -> list[str]:
    """Return a line per component with the settings that switch it off."""
    components = getattr(plan.study.design, "components", {})
    lines = []
    for name, overrides in components.items():
        settings = [f"{p}={format_setting(v)}" for p, v in flatten(overrides).items()]
        lines.append(f"{name} off: {', '.join(settings)}")
    return lines


def _describe_total(plan: Plan) -> str:
    least, most, cells = plan.study.least_seeds, len(plan.study.all_seeds), len(plan.cells)
    one_seed = sum(cell.config.trained_epochs for cell in plan.cells)
    noun = "cells" if len(plan.datasets) > 1 else "arms"
    resources = plan.study.resources
    return (
        f"{_format_range(least * cells, most * cells)} trials ({cells} {noun} ×"
        f" {_format_range(least, most)} seeds), {_format_range(least * one_seed, most * one_seed)}"
        f" epochs; a trial takes {resources.cpu:g} CPU and {format_gpu(resources)} GPU."
    )


def _list_searches(plan: Plan) -> list[tuple[str, SearchPlan]]:
    """Return name and plan of each arm's search."""
    several = len(plan.datasets) > 1
    searches = []
    for arm in plan.tuning:
        if arm.plan:
            searches.append((format_search_name(plan.name, arm.cell, several), arm.plan))
    return searches


def _describe_results(plan: Plan, past: Peek, rerun: bool) -> list[str]:
    """Return how many trials have a result, and how many are left."""
    if past.problem:
        return [f"{past.problem}; the number of trials with a result is not known."]
    if plan.tuning and all(arm.plan for arm in plan.tuning):
        return ["The number of trials with a result is known after the arms are tuned."]
    found = count_remaining(plan, past.trials)
    cells, kind = len(plan.cells), ""
    if plan.tuning:
        cells = sum(not arm.plan for arm in plan.tuning)
        kind = " of arms that are not tuned"
    every = len(plan.study.all_seeds) * cells
    done = f"{found.done:,} of {every:,} trials{kind} have a result already"
    if rerun:
        return [f"{done} and would be trained again (--rerun).", *found.notes]
    left = "nothing"
    if found.trials[1]:
        left = f"{_format_range(*found.trials)} with {_format_range(*found.epochs)} epochs"
    return [f"{done}; left to train: {left}.", *found.notes]


def _describe_sharing(plan: Plan) -> list[str]:
    """Return how many epochs are trained if common training prefixes are trained once."""
    if plan.tuning:
        return []
    epochs: dict[bytes, int] = {}
    for cell in plan.cells:
        after = cell.config.count_trained_epochs
        for epoch, key in enumerate(compute_prefix_keys(cell.config, "", "")):
            epochs[key] = after(epoch + 1) - after(epoch)
    once = sum(epochs.values())
    every = sum(cell.config.trained_epochs for cell in plan.cells)
    if once == every:
        return []
    seeds = _format_range(plan.study.least_seeds * once, len(plan.study.all_seeds) * once)
    return [
        f"With prefix sharing: {seeds} epochs, {once / every:.0%} of the epochs (--no-share trains"
        " all)."
    ]


def _format_range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _describe_tuning(plan: Plan) -> str:
    """Return the cost of the arms' searches."""
    plans: list[SearchPlan] = []
    fixed: list[str] = []
    epochs = 0
    for arm in plan.tuning:
        if arm.fixed:
            fixed.append(f"{arm.cell.arm}: {', '.join(arm.fixed)}")
        if arm.plan:
            plans.append(arm.plan)
            epochs += arm.plan.trials * len(arm.plan.seeds) * arm.plan.trained_epochs
    if not plans:
        return "Tuning: no arm has parameters to tune."
    first = plans[0]
    counts = [search.trials for search in plans]
    most = max(counts)
    fewer = "at most " if min(counts) < most else ""
    seeds = f" × {len(first.seeds)} seeds" if len(first.seeds) > 1 else ""
    bound = "at most " if first.config.scheduler.type != "none" else ""
    text = (
        f"Tuning before that: {len(plans)} searches × {fewer}{most} trials{seeds} ="
        f" {plan.tuning_trials} trials, {bound}{epochs:,} epochs; sampler"
        f" {first.config.sampler.type}, scheduler {first.config.scheduler.type}."
    )
    return f"{text} Not searched in {'; in '.join(fixed)}." if fixed else text


def _describe_difference(cell: Cell, set_by_reference: Sequence[str]) -> str:
    """Return the values that an arm or the reference sets.

    The defaults of a component of another type are counted instead of listed.
    """
    form = flatten(cell.config.model_dump(mode="json"))
    set_by_either = (*cell.pinned, *set_by_reference)
    present: list[str] = []
    named: list[str] = []
    for path in cell.changes:
        has_other_type = _has_other_type(path, cell.changes)
        if path not in form and has_other_type:
            continue
        present.append(path)
        if not has_other_type or is_at_or_below(path, set_by_either):
            named.append(path)
    words = []
    for path in named:
        component = path.rpartition(".")[0]
        has_type = f"{component}.type" in named
        is_target = path == f"{component}.target" and not has_type
        count = 0
        if path == f"{component}.type" or is_target:
            for other in present:
                if other not in named and other.startswith(f"{component}."):
                    count += 1
        defaults = f" with {count} default{'s' if count > 1 else ''}" if count else ""
        words.append(f"{path}: {format_setting(cell.changes[path])}{defaults}")
    return ", ".join(words)


def _has_other_type(path: str, changes: Collection[str]) -> bool:
    """Return True for a value, except the type, of a component whose type is changed."""
    *parents, last = path.split(".")
    if last in ("type", "target"):
        return False
    component = ""
    for step in parents:
        component = f"{component}.{step}" if component else step
        if f"{component}.type" in changes or f"{component}.target" in changes:
            return True
    return False
