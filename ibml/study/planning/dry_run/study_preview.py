"""What a study would run, for `--dry-run`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ibml.config.trial import flatten
from ibml.search.plan import SearchPlan
from ibml.study.planning.arm_search import format_search_name
from ibml.study.planning.cells import Cell
from ibml.study.planning.dry_run.duration_estimate import SECONDS, collect_costs, estimate_duration
from ibml.study.planning.dry_run.remaining import count_remaining
from ibml.study.planning.dry_run.search_peek import SearchPeek
from ibml.study.planning.dry_run.search_preview import (
    describe_proposals,
    format_gpu,
    format_setting,
)
from ibml.study.planning.keys import compute_prefix_keys
from ibml.study.planning.plan import Plan
from ibml.tracking.store.peek import Peek


def list_preview_metrics(plan: Plan) -> list[str]:
    """Return the metrics of past trials that a preview goes by."""
    adaptive = plan.study.adaptive
    return [SECONDS, *([adaptive.get_deciding_metric(plan.metrics)] if adaptive else [])]


def preview_study(
    plan: Plan,
    past: Peek = Peek(),  # noqa: B008
    searches: SearchPeek = SearchPeek(),  # noqa: B008
    share: bool = True,
    rerun: bool = False,
) -> Group:
    """The design matrix: arms, levels of their factors, trials, epochs, and how each arm differs from the reference;
    what is trained of the epochs where trials `share` states; how much of it has a result, which `rerun` trains again;
    and what it would take, going by the costs of past trials."""
    several = len(plan.datasets) > 1
    crossed = plan.study.design.type == "factorial"
    factors = plan.design.factors if plan.study.design.type != "one_factor" else {}
    levels = {arm.name: arm.levels for arm in plan.design.arms}
    grid = Table(
        title=Text(plan.name, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
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
    set_by = {cell.dataset: cell.pinned for cell in plan.cells if cell.arm == plan.reference}
    for cell in plan.cells:
        epochs = cell.config.trained_epochs
        of_arm = [levels[cell.arm][name] for name in factors]
        counts = [_format_range(least, most), _format_range(least * epochs, most * epochs)]
        last = (
            "reference"
            if cell.arm == plan.reference
            else ""
            if factors
            else _describe_difference(cell, set_by.get(cell.dataset, ()))
        )
        row = [*([] if crossed else [cell.arm]), *of_arm, *counts, last]
        grid.add_row(*map(Text, [cell.dataset, *row] if several else row))
    tuning = [_describe_tuning(plan)] if plan.tuning else []
    found = estimate_duration(plan, collect_costs(past.trials))
    warnings = [f"Note: {warning}." for warning in plan.warnings]
    lines = [
        *_describe_switches(plan),
        *plan.notes,
        *warnings,
        *tuning,
        _describe_total(plan),
        *(_describe_sharing(plan) if share else []),
    ]
    lines += (
        [describe_proposals(searches, _list_searches(plan))]
        if any(arm.plan for arm in plan.tuning)
        else []
    )
    lines += _describe_results(plan, past, rerun)
    lines += [*([str(found)] if found else []), "Nothing was run."]
    return Group(Text(plan.study.description), grid, *map(Text, lines))


def _describe_switches(plan: Plan) -> list[str]:
    """What switches each component off."""
    components = getattr(plan.study.design, "components", {})
    settings = {name: flatten(of) for name, of in components.items()}
    return [
        f"{name} off: {', '.join(f'{p}={format_setting(v)}' for p, v in of.items())}"
        for name, of in settings.items()
    ]


def _describe_total(plan: Plan) -> str:
    least, most, cells = plan.study.least_seeds, len(plan.study.all_seeds), len(plan.cells)
    one_seed = sum(cell.config.trained_epochs for cell in plan.cells)
    what = "cells" if len(plan.datasets) > 1 else "arms"
    resources = plan.study.resources
    return (
        f"{_format_range(least * cells, most * cells)} trials ({cells} {what} × {_format_range(least, most)} seeds),"
        f" {_format_range(least * one_seed, most * one_seed)} epochs; a trial takes {resources.cpu:g} CPU and"
        f" {format_gpu(resources)} GPU."
    )


def _list_searches(plan: Plan) -> list[tuple[str, SearchPlan]]:
    several = len(plan.datasets) > 1
    return [
        (format_search_name(plan.name, arm.cell, several), arm.plan)
        for arm in plan.tuning
        if arm.plan
    ]


def _describe_results(plan: Plan, past: Peek, rerun: bool) -> list[str]:
    """How many trials have a result, and what is left."""
    if past.problem:
        return [f"{past.problem}; how many trials have a result is not known."]
    if plan.tuning and all(arm.plan for arm in plan.tuning):
        return ["How many trials of this table have a result is known when its arms are tuned."]
    found = count_remaining(plan, past.trials)
    cells = sum(not arm.plan for arm in plan.tuning) if plan.tuning else len(plan.cells)
    every = len(plan.study.all_seeds) * cells
    of = f"{every:,} trials{' of arms that are not tuned' if plan.tuning else ''}"
    if rerun:
        return [
            f"{found.done:,} of {of} have a result already and would be trained again (--rerun).",
            *found.notes,
        ]
    left = (
        f"{_format_range(*found.trials)} with {_format_range(*found.epochs)} epochs"
        if found.trials[1]
        else "nothing"
    )
    return [f"{found.done:,} of {of} have a result already; left to train: {left}.", *found.notes]


def _describe_sharing(plan: Plan) -> list[str]:
    """How many epochs are trained where those are trained once in which trials train alike."""
    if plan.tuning:
        return []
    epochs: dict[bytes, int] = {}
    for cell in plan.cells:
        after = cell.config.count_trained_epochs
        for epoch, name in enumerate(compute_prefix_keys(cell.config, "", "")):
            epochs[name] = after(epoch + 1) - after(epoch)
    once, every = sum(epochs.values()), sum(cell.config.trained_epochs for cell in plan.cells)
    if once == every:
        return []
    seeds = _format_range(plan.study.least_seeds * once, len(plan.study.all_seeds) * once)
    return [
        f"Trained once where trials train alike: {seeds} epochs, {once / every:.0%} (with --no-share all)."
    ]


def _format_range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _describe_tuning(plan: Plan) -> str:
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


def _describe_difference(cell: Cell, set_by_reference: Sequence[str]) -> str:
    """What the arm or the reference sets; of a part of another type, its defaults are counted."""
    form = flatten(cell.config.model_dump(mode="json"))
    set_by_either = (*cell.pinned, *set_by_reference)
    there = [
        path for path in cell.changes if path in form or not _has_other_type(path, cell.changes)
    ]
    named = [
        path
        for path in there
        if _is_at_or_below(path, set_by_either) or not _has_other_type(path, cell.changes)
    ]
    words = []
    for path in named:
        part = path.rpartition(".")[0]
        decides = path == f"{part}.type" or (
            path == f"{part}.target" and f"{part}.type" not in named
        )
        rest = [p for p in there if p not in named and decides and p.startswith(f"{part}.")]
        defaults = f" with {len(rest)} default{'s' if len(rest) > 1 else ''}" if rest else ""
        words.append(f"{path}: {format_setting(cell.changes[path])}{defaults}")
    return ", ".join(words)


def _has_other_type(path: str, changes: Collection[str]) -> bool:
    """Whether a value is of a part whose type is another one; the type itself is not meant."""
    steps = path.split(".")
    parts = [".".join(steps[:size]) for size in range(1, len(steps))]
    return steps[-1] not in ("type", "target") and any(
        f"{part}.{name}" in changes for part in parts for name in ("type", "target")
    )


def _is_at_or_below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}.") for place in places)
