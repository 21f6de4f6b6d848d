"""How many trials of a plan have results already, and what is left to train."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ibml.common.errors import IbmlError
from ibml.config.data import DataConfig
from ibml.config.datasets import FilesConfig
from ibml.study.planning.cells import Cell
from ibml.study.planning.equivalence import get_result_form
from ibml.study.planning.keys import compute_trial_key
from ibml.study.planning.plan import Plan

if TYPE_CHECKING:
    from ibml.tracking.store.listing import ListedTrial

ENDED = ("finished", "diverged")
"""The statuses of a trial that has a result."""
Values = dict[tuple[str, str], dict[int, float | None]]
"""(data set, arm) -> seed -> the metric that decides; none of a trial that ended without it."""


@dataclass(frozen=True)
class Remaining:
    """Trials with a result, and at least and at most what is left; notes say why it may be otherwise."""

    done: int
    trials: tuple[int, int]
    epochs: tuple[int, int]
    notes: tuple[str, ...] = ()


def count_remaining(plan: Plan, trials: Sequence[ListedTrial]) -> Remaining:
    """Count the trials of a plan that have a result among those of a store, and the rest.

    Args:
        plan: The study. Of arms that are tuned first nothing is known, so they are left out.
        trials: What the store has.
    """
    cells = [arm.cell for arm in plan.tuning if arm.plan is None] if plan.tuning else plan.cells
    cells = cells if plan.study.adaptive else _select_distinct(cells)
    results = {trial.key: trial for trial in trials if trial.status in ENDED}
    notes: dict[str, None] = {}
    metric = plan.study.adaptive.get_deciding_metric(plan.metrics) if plan.study.adaptive else ""
    values: Values = {}
    for cell in cells:
        found = _find_results(cell, plan.study.all_seeds, results, notes)
        values[cell.dataset, cell.arm] = {
            seed: _get_value(trial, metric) for seed, trial in found.items()
        }
    least, most = _count_left(plan, cells, values)
    return Remaining(
        sum(map(len, values.values())),
        (sum(least.values()), sum(most.values())),
        (_count_epochs(cells, least), _count_epochs(cells, most)),
        tuple(notes),
    )


def _select_distinct(cells: Sequence[Cell]) -> list[Cell]:
    """The cells without those whose trials are another cell's."""
    forms = [json.dumps(get_result_form(cell.config), sort_keys=True) for cell in cells]
    return [cell for position, cell in enumerate(cells) if forms[position] not in forms[:position]]


def _get_value(trial: ListedTrial, metric: str) -> float | None:
    value = trial.metrics.get(metric, math.nan) if trial.status == "finished" else math.nan
    return value if math.isfinite(value) else None


def _count_epochs(cells: Sequence[Cell], left: Mapping[tuple[str, str], int]) -> int:
    return sum(left[cell.dataset, cell.arm] * cell.config.trained_epochs for cell in cells)


def _find_results(
    cell: Cell, seeds: Sequence[int], results: Mapping[str, ListedTrial], notes: dict[str, None]
) -> dict[int, ListedTrial]:
    """Seed -> the result of a cell's trial. Results are of a content of the data set, which is read only if there are
    results of its configuration at all."""
    configs = {seed: cell.config.model_copy(update={"seed": seed}) for seed in seeds}
    for fingerprint in _list_fingerprints(cell, results, notes):
        found = {
            seed: results.get(compute_trial_key(config, fingerprint))
            for seed, config in configs.items()
        }
        known = {seed: trial for seed, trial in found.items() if trial is not None}
        if known:
            note = _describe_content(
                cell.config.data, fingerprint, {t.fingerprint for t in results.values()}
            )
            if note != _OTHER:
                notes |= {note: None} if note else {}
                return known
    return {}


_OTHER = "other content"


def _list_fingerprints(
    cell: Cell, results: Mapping[str, ListedTrial], notes: dict[str, None]
) -> Collection[str]:
    """The contents of data sets that results are of; an embedded data set has one."""
    from ibml import data

    if not results:
        return ()
    if isinstance(cell.config.data, FilesConfig):
        return dict.fromkeys(trial.fingerprint for trial in results.values())
    try:
        return (data.fingerprint(cell.config.data),)
    except IbmlError as error:
        notes |= {f"Its results are not known: {error}.": None}
        return ()


def _describe_content(config: DataConfig, fingerprint: str, recorded: Collection[str]) -> str:
    """What to add where it is not known if the data set still has this content; `_OTHER` where it has not."""
    if not isinstance(config, FilesConfig):
        return ""
    from ibml.data.base import ignore_progress
    from ibml.data.files.file_dataset import scan_dataset

    try:
        now = scan_dataset(config, ignore_progress).fingerprint
    except IbmlError:
        return f"The data set {config.type} was not found here; its results are counted by the content that they are of."
    if now == fingerprint:
        return ""
    if (
        config.on_missing == "skip" and now not in recorded
    ):  # which samples are left out is known when all are decoded
        return (
            f"Results on {config.type} are counted as if its content were that of the last trials."
        )
    return _OTHER


def _count_left(
    plan: Plan, cells: Sequence[Cell], values: Values
) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
    """By data set and arm how many trials are left at least and at most."""
    seeds = plan.study.all_seeds
    every = {place: len(seeds) - len(known) for place, known in values.items()}
    adaptive = plan.study.adaptive
    if adaptive is None:
        return every, every
    from ibml.statistics.sequential import follow

    least, most = dict.fromkeys(every, 0), dict.fromkeys(every, 0)
    table = plan.study.table
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        arms = {arm: known for (name, arm), known in values.items() if name == dataset}
        progress = follow(arms, plan.reference, seeds, adaptive.min, table.alpha, table.test)
        for names in progress.wanted.values():
            for arm in names:
                least[dataset, arm] += 1
        if not progress.finished:
            open_arms = [arm for arm in arms if arm not in progress.decided]
            most |= {(dataset, arm): every[dataset, arm] for arm in open_arms}
    return least, most
