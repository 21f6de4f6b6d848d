"""A plan's trials with their keys, and the record of a study that its table is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibml import data
from ibml.config.records import StudyRecord, TrialEntry, Tuning
from ibml.config.trial import TrialConfig
from ibml.study.cells import Cell
from ibml.study.keys import trial_key
from ibml.study.plan import Plan


@dataclass(frozen=True)
class PlannedTrial:
    """One trial: its cell of the design, its configuration with the seed, and the key of its result."""

    cell: Cell
    config: TrialConfig
    key: str
    fingerprint: str
    name: str


UNTUNED = "untuned"
"""The key of a trial whose arm has not been tuned yet."""


def planned_trials(plan: Plan, cells: Sequence[Cell] | None = None) -> list[PlannedTrial]:
    """All trials of a plan's cells (or of these, which tuning has made), seed by seed, so that a study that is cut
    short has whole pairs to compare."""
    chosen = plan.cells if cells is None else cells
    several = len(plan.datasets) > 1
    return [planned_trial(cell, seed, several) for seed in plan.study.seeds for cell in chosen]


def planned_trial(cell: Cell, seed: int, several: bool) -> PlannedTrial:
    """A cell's trial with a seed; `several` data sets are told apart by the name."""
    config = cell.config.model_copy(update={"seed": seed})
    fingerprint = data.fingerprint(config.data)
    place = f"{cell.dataset} · " if several else ""
    return PlannedTrial(cell, config, trial_key(config, fingerprint), fingerprint, f"{place}{cell.arm} · seed {seed}")


def _epochs(plan: Plan, trials: Sequence[PlannedTrial], dataset: str) -> tuple[int, ...]:
    own = {trial.config.trainer.epochs for trial in trials if trial.cell.dataset == dataset}
    return tuple(sorted(own or {cell.config.trainer.epochs for cell in plan.cells if cell.dataset == dataset}))


def study_record(
    plan: Plan, trials: Sequence[PlannedTrial], tuning: Sequence[Tuning] = (), tuning_note: str = ""
) -> StudyRecord:
    """What a table needs to know of the study. Trials that await their arm's tuning are in it without a key."""
    keys = {(trial.cell.arm, trial.cell.dataset, trial.config.seed): trial.key for trial in trials}
    entries = (
        TrialEntry(arm=cell.arm, dataset=cell.dataset, seed=seed, key=keys.get((cell.arm, cell.dataset, seed), UNTUNED))
        for seed in plan.study.seeds
        for cell in plan.cells
    )
    return StudyRecord(
        name=plan.study.name,
        description=plan.study.description,
        file_hash=plan.file_hash,
        overrides=plan.overrides,
        reference=plan.reference,
        arms=tuple(plan.arms),
        datasets=tuple(plan.datasets),
        seeds=plan.study.seeds,
        epochs={name: _epochs(plan, trials, name) for name in plan.datasets},
        notes=tuple(plan.notes),
        metrics=tuple(plan.metrics),
        table=plan.study.table,
        trials=tuple(entries),
        tuning=tuple(tuning),
        tuning_note=tuning_note,
    )
