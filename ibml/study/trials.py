"""A plan's trials with their keys, and the record of a study that its table is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibml import data
from ibml.config.records import StudyRecord, TrialEntry
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


def planned_trials(plan: Plan) -> list[PlannedTrial]:
    """All trials, seed by seed, so that a study that is cut short has whole pairs to compare."""
    trials = []
    for seed in plan.study.seeds:
        for cell in plan.cells:
            config = cell.config.model_copy(update={"seed": seed})
            fingerprint = data.fingerprint(config.data)
            name = (
                f"{cell.arm} · seed {seed}" if len(plan.datasets) == 1 else f"{cell.dataset} · {cell.arm} · seed {seed}"
            )
            trials.append(PlannedTrial(cell, config, trial_key(config, fingerprint), fingerprint, name))
    return trials


def _epochs(plan: Plan, dataset: str) -> tuple[int, ...]:
    return tuple(sorted({cell.config.trainer.epochs for cell in plan.cells if cell.dataset == dataset}))


def study_record(plan: Plan, trials: Sequence[PlannedTrial]) -> StudyRecord:
    """What a table needs to know of the study."""
    return StudyRecord(
        name=plan.study.name,
        description=plan.study.description,
        file_hash=plan.file_hash,
        overrides=plan.overrides,
        reference=plan.reference,
        arms=tuple(plan.arms),
        datasets=tuple(plan.datasets),
        seeds=plan.study.seeds,
        epochs={name: _epochs(plan, name) for name in plan.datasets},
        notes=tuple(plan.notes),
        metrics=tuple(plan.metrics),
        table=plan.study.table,
        trials=tuple(TrialEntry(arm=t.cell.arm, dataset=t.cell.dataset, seed=t.config.seed, key=t.key) for t in trials),
    )
