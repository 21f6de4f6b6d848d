"""A plan's trials with their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibml import data
from ibml.config.trial import TrialConfig
from ibml.study.planning.cells import Cell
from ibml.study.planning.keys import compute_trial_key
from ibml.study.planning.plan import Plan


@dataclass(frozen=True)
class TrialSpec:
    """One trial: its cell of the design, its configuration with the seed, and the key of its result."""

    cell: Cell
    config: TrialConfig
    key: str
    fingerprint: str
    name: str


def build_trials(plan: Plan, cells: Sequence[Cell] | None = None) -> list[TrialSpec]:
    """All trials of a plan's cells (or of these, which tuning has made), seed by seed, so that a study that is cut
    short has whole pairs to compare."""
    chosen = plan.cells if cells is None else cells
    several = len(plan.datasets) > 1
    return [build_trial(cell, seed, several) for seed in plan.study.all_seeds for cell in chosen]


def build_trial(cell: Cell, seed: int, several: bool) -> TrialSpec:
    """A cell's trial with a seed; `several` data sets are told apart by the name."""
    config = cell.config.model_copy(update={"seed": seed})
    fingerprint = data.fingerprint(config.data)
    place = f"{cell.dataset} · " if several else ""
    return TrialSpec(
        cell,
        config,
        compute_trial_key(config, fingerprint),
        fingerprint,
        f"{place}{cell.arm} · seed {seed}",
    )
