"""Number of trials of a plan that have results, and that are left to train."""

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
"""Statuses of a trial with a result."""
CellName = tuple[str, str]
"""A data set and an arm."""
Values = dict[CellName, dict[int, float | None]]
"""Metric that decides on seeds, by cell and seed; None for a trial that ended without it."""


@dataclass(frozen=True)
class Remaining:
    """Number of trials with a result, and what is left.

    Attributes:
        done: Number of trials with a result.
        trials: Minimum and maximum number of trials that are left.
        epochs: Minimum and maximum number of epochs that are left.
        notes: Reasons why the numbers may be wrong.
    """

    done: int
    trials: tuple[int, int]
    epochs: tuple[int, int]
    notes: tuple[str, ...] = ()


def count_remaining(plan: Plan, trials: Sequence[ListedTrial]) -> Remaining:
    """Count the trials of a plan that have a result in a store, and the others.

    Args:
        plan: Plan of the study. Arms to be tuned are left out, since their trials are not known.
        trials: Trials of the store.

    Returns:
        The numbers.
    """
    cells = plan.cells
    if plan.tuning:
        cells = [arm.cell for arm in plan.tuning if arm.plan is None]
    adaptive = plan.study.adaptive
    metric = ""
    if adaptive:
        metric = adaptive.get_deciding_metric(plan.metrics)
    else:
        cells = _select_distinct(cells)
    results = {trial.key: trial for trial in trials if trial.status in ENDED}
    notes: dict[str, None] = {}
    values: Values = {}
    for cell in cells:
        found = _find_results(cell, plan.study.all_seeds, results, notes)
        values[cell.dataset, cell.arm] = {s: _get_value(t, metric) for s, t in found.items()}
    least, most = _count_left(plan, cells, values)
    return Remaining(
        done=sum(map(len, values.values())),
        trials=(sum(least.values()), sum(most.values())),
        epochs=(_count_epochs(cells, least), _count_epochs(cells, most)),
        notes=tuple(notes),
    )


def _select_distinct(cells: Sequence[Cell]) -> list[Cell]:
    """Return the first of the cells that have the same trials."""
    distinct: dict[str, Cell] = {}
    for cell in cells:
        form = json.dumps(get_result_form(cell.config), sort_keys=True)
        distinct.setdefault(form, cell)
    return list(distinct.values())


def _get_value(trial: ListedTrial, metric: str) -> float | None:
    if trial.status != "finished":
        return None
    value = trial.metrics.get(metric, math.nan)
    return value if math.isfinite(value) else None


def _count_epochs(cells: Sequence[Cell], left: Mapping[CellName, int]) -> int:
    return sum(left[cell.dataset, cell.arm] * cell.config.trained_epochs for cell in cells)


def _find_results(
    cell: Cell, seeds: Sequence[int], results: Mapping[str, ListedTrial], notes: dict[str, None]
) -> dict[int, ListedTrial]:
    """Return the results of a cell's trials, by seed.

    A result belongs to a content of the data set. The data set is scanned only if its configuration
    has results.
    """
    configs = {seed: cell.config.model_copy(update={"seed": seed}) for seed in seeds}
    for fingerprint in _list_fingerprints(cell, results, notes):
        known: dict[int, ListedTrial] = {}
        for seed, config in configs.items():
            trial = results.get(compute_trial_key(config, fingerprint))
            if trial is not None:
                known[seed] = trial
        if known:
            recorded = {trial.fingerprint for trial in results.values()}
            note = _describe_content(cell.config.data, fingerprint, recorded)
            if note != _OTHER:
                if note:
                    notes[note] = None
                return known
    return {}


_OTHER = "other content"


def _list_fingerprints(
    cell: Cell, results: Mapping[str, ListedTrial], notes: dict[str, None]
) -> Collection[str]:
    """Return the fingerprints of the data set that results may have."""
    from ibml import data

    if not results:
        return ()
    if isinstance(cell.config.data, FilesConfig):
        return dict.fromkeys(trial.fingerprint for trial in results.values())
    try:
        return (data.fingerprint(cell.config.data),)
    except IbmlError as error:
        notes[f"Its results are not known: {error}."] = None
        return ()


def _describe_content(config: DataConfig, fingerprint: str, recorded: Collection[str]) -> str:
    """Return a note if it is not known whether a data set still has the content of a result.

    Args:
        config: Configuration of the data set.
        fingerprint: Fingerprint of the result.
        recorded: Fingerprints of all results.

    Returns:
        The note; empty if the content is the same, `_OTHER` if it is not.
    """
    if not isinstance(config, FilesConfig):
        return ""
    from ibml.data.base import ignore_progress
    from ibml.data.files.file_dataset import scan_dataset

    try:
        now = scan_dataset(config, ignore_progress).fingerprint
    except IbmlError:
        return (
            f"The data set {config.type} was not found here; its results are counted by their"
            " recorded content."
        )
    if now == fingerprint:
        return ""
    # the skipped samples are known only after all are decoded
    if config.on_missing == "skip" and now not in recorded:
        return f"Results on {config.type} are counted as if its content had not changed."
    return _OTHER


def _count_left(
    plan: Plan, cells: Sequence[Cell], values: Values
) -> tuple[dict[CellName, int], dict[CellName, int]]:
    """Return the minimum and maximum number of trials that are left, by cell."""
    seeds = plan.study.all_seeds
    every = {name: len(seeds) - len(known) for name, known in values.items()}
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
            for arm in arms:
                if arm not in progress.decided:
                    most[dataset, arm] = every[dataset, arm]
    return least, most
