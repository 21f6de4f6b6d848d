"""Trials of a plan, with their keys."""

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
    """A trial of a study: what to train.

    Attributes:
        cell: Arm on a data set.
        config: Configuration with the seed.
        key: Key of its result.
        fingerprint: Fingerprint of the data set.
        name: Name of its run.
    """

    cell: Cell
    config: TrialConfig
    key: str
    fingerprint: str
    name: str


def build_trials(plan: Plan, cells: Sequence[Cell] | None = None) -> list[TrialSpec]:
    """Build the trials of a plan.

    Trials are ordered by seed, so that an interrupted study has complete pairs to compare.

    Args:
        plan: The plan.
        cells: Tuned cells that replace those of the plan.

    Returns:
        One trial per seed and cell.
    """
    chosen = plan.cells if cells is None else cells
    several = len(plan.datasets) > 1
    return [build_trial(cell, seed, several) for seed in plan.study.all_seeds for cell in chosen]


def build_trial(cell: Cell, seed: int, several: bool) -> TrialSpec:
    """Build the trial of a cell with a seed.

    Args:
        cell: The cell.
        seed: The seed.
        several: True if the study has several data sets; the name then contains the data set.

    Returns:
        The trial.
    """
    config = cell.config.model_copy(update={"seed": seed})
    fingerprint = data.fingerprint(config.data)
    key = compute_trial_key(config, fingerprint)
    place = f"{cell.dataset} · " if several else ""
    name = f"{place}{cell.arm} · seed {seed}"
    return TrialSpec(cell, config, key, fingerprint, name)
