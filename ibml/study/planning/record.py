"""The record of a study: all that its table and its report are made from besides the trials' results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ibml.config.trial import flatten
from ibml.records import UNTUNED, DesignRecord, StudyRecord, TrialEntry, Tuning
from ibml.study.planning.cells import Cell
from ibml.study.planning.designs import OFF, ON
from ibml.study.planning.plan import Plan
from ibml.study.planning.trials import TrialSpec


def _collect_epochs(plan: Plan, trials: Sequence[TrialSpec], dataset: str) -> tuple[int, ...]:
    own = {trial.config.trained_epochs for trial in trials if trial.cell.dataset == dataset}
    return tuple(
        sorted(
            own or {cell.config.trained_epochs for cell in plan.cells if cell.dataset == dataset}
        )
    )


def study_record(
    plan: Plan, trials: Sequence[TrialSpec], tuning: Sequence[Tuning] = (), tuning_note: str = ""
) -> StudyRecord:
    """What a table needs to know of the study. Trials that await their arm's tuning are in it without a key."""
    keys = {(trial.cell.arm, trial.cell.dataset, trial.config.seed): trial.key for trial in trials}
    entries = (
        TrialEntry(
            arm=cell.arm,
            dataset=cell.dataset,
            seed=seed,
            key=keys.get((cell.arm, cell.dataset, seed), UNTUNED),
        )
        for seed in plan.study.all_seeds
        for cell in plan.cells
    )
    return StudyRecord(
        name=plan.name,
        description=plan.study.description,
        file_hash=plan.file_hash,
        overrides=plan.overrides,
        reference=plan.reference,
        arms=tuple(plan.arms),
        datasets=tuple(plan.datasets),
        seeds=plan.study.all_seeds,
        epochs={name: _collect_epochs(plan, trials, name) for name in plan.datasets},
        notes=(*plan.notes, *plan.warnings),
        metrics=tuple(plan.metrics),
        table=plan.study.table,
        trials=tuple(entries),
        tuning=tuple(tuning),
        tuning_note=tuning_note,
        design=_build_design_record(plan),
        columns=_build_columns(plan),
        adaptive=plan.study.adaptive,
        configs={c.dataset: _flatten_config(c) for c in plan.cells if c.arm == plan.reference},
        modalities={name: _collect_modalities(plan, name) for name in plan.datasets},
        changes={
            name: {
                c.arm: c.changes
                for c in plan.cells
                if c.dataset == name and c.arm != plan.reference
            }
            for name in plan.datasets
        },
        base_name=plan.study.name if plan.overrides or plan.name != plan.study.name else "",
        tune=build_tuning_spec(plan),
    )


def _collect_modalities(plan: Plan, dataset: str) -> tuple[str, ...]:
    found = (
        name
        for cell in plan.cells
        if cell.dataset == dataset
        for name in cell.config.data.modalities
    )
    return tuple(dict.fromkeys(found))


def _flatten_config(cell: Cell) -> dict[str, Any]:
    return flatten(cell.config.model_dump(mode="json", exclude={"seed"}))


def _build_design_record(plan: Plan) -> DesignRecord:
    expanded, known = plan.design, set(plan.arms)
    arms = [arm for arm in expanded.arms if arm.name in known]
    one_factor = plan.study.design.type == "one_factor"
    return DesignRecord(
        type=plan.study.design.type,
        factors=expanded.factors,
        components=tuple(name for name, levels in expanded.factors.items() if levels == (OFF, ON)),
        levels={arm.name: arm.levels for arm in arms if arm.levels},
        values={arm.name: arm.value for arm in arms if one_factor and arm.levels},
        paths=dict(zip(expanded.factors, expanded.pinned, strict=True)) if one_factor else {},
    )


def _build_columns(plan: Plan) -> dict[str, dict[str, Any]]:
    """What the arms consist of: as the table asks for it, else the factors of a crossed design."""
    asked = plan.study.table.components
    if asked is None:
        if plan.study.design.type in ("arms", "one_factor"):
            return {}
        levels = {arm.name: arm.levels for arm in plan.design.arms}
        return {
            factor: {
                arm: of_arm[factor] == ON if names == (OFF, ON) else of_arm[factor]
                for arm, of_arm in levels.items()
            }
            for factor, names in plan.design.factors.items()
        }
    configs = {cell.arm: _flatten_config(cell) for cell in reversed(plan.cells)}
    return {
        name: _convert_to_marks({arm: configs[arm].get(path) for arm in plan.arms})
        for name, path in asked.items()
    }


def _convert_to_marks(values: dict[str, Any]) -> dict[str, Any]:
    """Off and on, where there is one value besides those that switch a part off; else the values."""
    others = {repr(value) for value in values.values() if value}
    if len(others) <= 1 and any(not value for value in values.values()):
        return {arm: bool(value) for arm, value in values.items()}
    return values


def build_tuning_spec(plan: Plan) -> dict[str, Any]:
    """Return what determines the searches of the arms, besides the arms themselves; empty if they are not tuned."""
    free = {"name", "description", "base", "overrides", "trials", "concurrency", "resources"}
    return plan.tuning[0].space.model_dump(mode="json", exclude=free) if plan.tuning else {}
