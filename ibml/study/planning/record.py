"""Builds the record of a study: everything besides results that its table and report need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ibml.config.trial import flatten
from ibml.records import UNTUNED, DesignRecord, StudyRecord, TrialEntry, Tuning
from ibml.study.planning.cells import Cell
from ibml.study.planning.designs import OFF, ON
from ibml.study.planning.plan import Plan
from ibml.study.planning.trials import TrialSpec


def study_record(
    plan: Plan,
    trials: Sequence[TrialSpec],
    tuning: Sequence[Tuning] = (),
    tuning_note: str = "",
) -> StudyRecord:
    """Build the record of a study.

    Args:
        plan: The plan of the study.
        trials: Trials with keys. Trials that wait for the tuning of their arm are recorded without.
        tuning: Results of tuning.
        tuning_note: Note on the tuning budget.

    Returns:
        The record.
    """
    keys = {(trial.cell.arm, trial.cell.dataset, trial.config.seed): trial.key for trial in trials}
    entries = []
    for seed in plan.study.all_seeds:
        for cell in plan.cells:
            key = keys.get((cell.arm, cell.dataset, seed), UNTUNED)
            entries.append(TrialEntry(arm=cell.arm, dataset=cell.dataset, seed=seed, key=key))
    changes: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in plan.datasets}
    configs: dict[str, dict[str, Any]] = {}
    for cell in plan.cells:
        if cell.arm == plan.reference:
            configs[cell.dataset] = _flatten_config(cell)
        else:
            changes[cell.dataset][cell.arm] = cell.changes
    is_renamed = bool(plan.overrides) or plan.name != plan.study.name
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
        configs=configs,
        modalities={name: _collect_modalities(plan, name) for name in plan.datasets},
        changes=changes,
        base_name=plan.study.name if is_renamed else "",
        tune=build_tuning_spec(plan),
    )


def _collect_epochs(plan: Plan, trials: Sequence[TrialSpec], dataset: str) -> tuple[int, ...]:
    """Return the numbers of epochs of a data set's trials, or of its cells without trials."""
    own: set[int] = set()
    for trial in trials:
        if trial.cell.dataset == dataset:
            own.add(trial.config.trained_epochs)
    if not own:
        own.update(c.config.trained_epochs for c in plan.cells if c.dataset == dataset)
    return tuple(sorted(own))


def _collect_modalities(plan: Plan, dataset: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for cell in plan.cells:
        if cell.dataset == dataset:
            found.update(dict.fromkeys(cell.config.data.modalities))
    return tuple(found)


def _flatten_config(cell: Cell) -> dict[str, Any]:
    return flatten(cell.config.model_dump(mode="json", exclude={"seed"}))


def _build_design_record(plan: Plan) -> DesignRecord:
    expanded = plan.design
    known = set(plan.arms)
    is_one_factor = plan.study.design.type == "one_factor"
    levels: dict[str, dict[str, str]] = {}
    values: dict[str, Any] = {}
    for arm in expanded.arms:
        if arm.name in known and arm.levels:
            levels[arm.name] = arm.levels
            if is_one_factor:
                values[arm.name] = arm.value
    paths: dict[str, str] = {}
    if is_one_factor:
        paths = dict(zip(expanded.factors, expanded.pinned, strict=True))
    return DesignRecord(
        type=plan.study.design.type,
        factors=expanded.factors,
        components=tuple(name for name, names in expanded.factors.items() if names == (OFF, ON)),
        levels=levels,
        values=values,
        paths=paths,
    )


def _build_columns(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return the columns that show the composition of the arms.

    They are the components that the table names, else the factors of a crossed design.
    """
    requested = plan.study.table.components
    columns: dict[str, dict[str, Any]] = {}
    if requested is not None:
        configs = {cell.arm: _flatten_config(cell) for cell in reversed(plan.cells)}
        for name, path in requested.items():
            columns[name] = _convert_to_marks({arm: configs[arm].get(path) for arm in plan.arms})
    elif plan.study.design.type not in ("arms", "one_factor"):
        for factor, names in plan.design.factors.items():
            levels = {arm.name: arm.levels[factor] for arm in plan.design.arms}
            is_component = names == (OFF, ON)
            columns[factor] = _mark_on(levels) if is_component else dict(levels)
    return columns


def _mark_on(levels: dict[str, str]) -> dict[str, Any]:
    return {arm: level == ON for arm, level in levels.items()}


def _convert_to_marks(values: dict[str, Any]) -> dict[str, Any]:
    """Return off and on if one value remains besides those that switch a component off."""
    others = {repr(value) for value in values.values() if value}
    if len(others) <= 1 and not all(values.values()):
        return {arm: bool(value) for arm, value in values.items()}
    return values


def build_tuning_spec(plan: Plan) -> dict[str, Any]:
    """Return what determines the searches of all arms; empty if they are not tuned."""
    free = {"name", "description", "base", "overrides", "trials", "concurrency", "resources"}
    return plan.tuning[0].space.model_dump(mode="json", exclude=free) if plan.tuning else {}
