"""Plan of a study: a study file, checked completely before anything runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ibml.common.errors import ConfigError, Problem, SourceLocation
from ibml.common.yaml import documents
from ibml.common.yaml.documents import Document
from ibml.config.loading.file_kinds import STUDY, check_kind, read_as
from ibml.config.loading.layers import Layers, Setting, find_base, read_settings
from ibml.config.loading.name_keys import normalize_names
from ibml.config.loading.overrides import apply_overrides, find_unknown_sections, parse_override
from ibml.config.loading.validation import parse_document, validate_layers
from ibml.config.metrics import names as metrics
from ibml.config.study.study import StudyConfig
from ibml.config.trial import TrialConfig, build_canonical_form
from ibml.study.planning.arm_search import ArmSearch, build_arm_searches
from ibml.study.planning.cells import Cell, CellBuilder
from ibml.study.planning.designs import ExpandedDesign
from ibml.study.planning.run_names import format_run_name
from ibml.study.planning.table_checks import check_decidable, check_table, find_shared_modalities

StudySource = str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """A checked study with all its cells.

    Attributes:
        name: Name of the study's record: the file's, or with overrides another one, see
            `ibml.study.planning.run_names`.
        study: Configuration of the study.
        text: Text of the file.
        bases: Texts of the bases.
        overrides: Overrides from the command line.
        reference: Name of the reference arm.
        cells: Arms on data sets.
        metrics: Metrics of the table.
        notes: Notes on the design for the table.
        design: Arms and factors.
        tuning: One search per cell, in the same order; empty unless the study tunes its arms.
        warnings: Notes on settings that are valid but probably not intended.
    """

    name: str
    study: StudyConfig
    text: str
    bases: tuple[str, ...]
    overrides: tuple[str, ...]
    reference: str
    cells: list[Cell]
    metrics: list[str]
    notes: list[str]
    design: ExpandedDesign
    tuning: list[ArmSearch]
    warnings: list[str] = field(default_factory=list)

    @property
    def tuning_trials(self) -> int:
        """Number of runs of all searches: trials times seeds."""
        plans = [search.plan for search in self.tuning if search.plan]
        return sum(plan.trials * len(plan.seeds) for plan in plans)

    @property
    def file_hash(self) -> str:
        """SHA-256 of the study's text and of every base and search space that it reads."""
        spaces = dict.fromkeys(search.plan.text for search in self.tuning if search.plan)
        return hashlib.sha256("\0".join([self.text, *self.bases, *spaces]).encode()).hexdigest()

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order of the cells."""
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets, in the order of the cells."""
        return list(dict.fromkeys(cell.dataset for cell in self.cells))

    @property
    def trials(self) -> int:
        """Number of trials; the maximum if results decide on the number of seeds."""
        return len(self.cells) * len(self.study.all_seeds)

    @property
    def epochs(self) -> int:
        """Number of epochs of all trials."""
        one_seed = sum(cell.config.trained_epochs for cell in self.cells)
        return len(self.study.all_seeds) * one_seed


def load_trial(name: str | Path, overrides: Iterable[str] = ()) -> TrialConfig:
    """Load the configuration of a trial.

    Args:
        name: Name of a preset, or path of a file.
        overrides: `a.b=c` texts.

    Returns:
        The configuration.

    Raises:
        ConfigError: Something is wrong; the error lists all problems.
    """
    source = SourceLocation(str(name))
    document = find_base(str(name), Path(), source)
    layers = Layers()
    problems = layers.add(read_settings(document))
    given: list[Setting] = []
    for text in overrides:
        given += parse_override(text)
    problems += layers.add(given)
    config, found = validate_layers(layers, source)
    if problems or found or config is None:
        raise ConfigError([*problems, *found])
    return config


def load_plan(
    source: StudySource,
    overrides: Iterable[str] = (),
    seeds: int | None = None,
    *,
    to_run: bool = True,
) -> Plan:
    """Load the plan of a study.

    Args:
        source: Path of a study file, or its content.
        overrides: `a.b=c` texts that override keys of the study or of the trials.
        seeds: Number of seeds that replaces the file's.
        to_run: True to refuse a test that cannot decide anything. Use False to read the results of
            such a study.

    Returns:
        The plan.

    Raises:
        ConfigError: Something is wrong; the error lists all problems.
    """
    if isinstance(source, Mapping):
        document = check_kind(documents.build_document(source, "ablation"), STUDY)
        directory = None
    else:
        document = read_as(source, STUDY)
        directory = Path(source).parent
    texts = tuple(overrides)
    groups = [parse_override(text) for text in texts]
    if seeds is not None:
        twice = []
        for setting in _join(groups):
            if setting.path[0] == "seeds":
                twice.append(Problem(setting.source, "--seeds is given too"))
        if twice:
            raise ConfigError(twice)
        groups.append([Setting(("seeds",), seeds, SourceLocation("--seeds"))])
        texts = (*texts, f"seeds={seeds}")

    def build(chosen: Sequence[list[Setting]]) -> Plan:
        return _build_plan(document, directory, _join(chosen), to_run)

    plan = build(groups)
    return replace(plan, overrides=texts, name=_choose_name(plan, groups, build))


def _join(groups: Sequence[list[Setting]]) -> list[Setting]:
    return list(itertools.chain.from_iterable(groups))


def _build_plan(
    document: Document, directory: Path | None, extra: list[Setting], to_run: bool
) -> Plan:
    """Build and check a plan with overrides; its name is the file's."""
    in_study: list[Setting] = []
    in_trials: list[Setting] = []
    for setting in extra:
        if setting.path[0] in StudyConfig.model_fields:
            in_study.append(_normalize_path(setting))
        if setting.path[0] in TrialConfig.model_fields:
            in_trials.append(setting)
    document, problems = normalize_names(document)
    document, found = normalize_names(apply_overrides(document, in_study))
    problems += found

    study, found = parse_document(document, StudyConfig)
    problems += found
    problems += find_unknown_sections(extra, [StudyConfig, TrialConfig])
    if study is None:
        raise ConfigError(problems)
    builder = CellBuilder(study, document, directory, in_trials, problems)
    cells, notes = builder.build_cells()
    tuning: list[ArmSearch] = []
    if cells:
        problems += check_table(study, builder.design, cells, document)
        if to_run:
            problems += check_decidable(study, cells, document)
        if study.tune:
            tuning = build_arm_searches(study, document, directory, cells, problems)
    if problems:
        raise ConfigError(problems)
    shared = find_shared_modalities(cells)
    return Plan(
        name=study.name,
        study=study,
        text=document.text,
        bases=tuple(builder.base_texts.values()),
        overrides=(),
        reference=builder.design.reference,
        cells=cells,
        metrics=list(study.table.metrics or metrics.list_default_metrics(shared)),
        notes=notes,
        design=builder.design,
        tuning=tuning,
        warnings=builder.warnings,
    )


def _normalize_path(setting: Setting) -> Setting:
    """Return a setting with its path in the composed Unicode form, like the names in a file."""
    path = tuple(unicodedata.normalize("NFC", step) for step in setting.path)
    return replace(setting, path=path)


def _choose_name(
    plan: Plan, groups: list[list[Setting]], build: Callable[[Sequence[list[Setting]]], Plan]
) -> str:
    """Return the name of a plan with overrides.

    It contains the overrides that make it another study. Those that repeat the file, or that do
    not influence results, such as `resources`, are left out.

    Args:
        plan: Plan with all overrides.
        groups: Settings of each override.
        build: Builds the plan with some of the overrides.

    Returns:
        The name.
    """
    if any(setting.path == ("name",) for setting in _join(groups)):
        return plan.study.name
    kept = sorted(groups, key=lambda group: str(group[0].source))
    content = _serialize_content(plan)
    for group in tuple(kept):
        rest = [other for other in kept if other is not group]
        try:
            if _serialize_content(build(rest)) == content:
                kept = rest
        except ConfigError:
            continue
    return format_run_name(plan.study.name, _join(kept))


def _serialize_content(plan: Plan) -> str:
    """Return everything that a study's record depends on, except name and description, as text."""
    free = {"name", "description", "concurrency", "resources"}
    cells = []
    for cell in plan.cells:
        cells.append([cell.dataset, cell.arm, build_canonical_form(cell.config)])
    tune = []
    for search in plan.tuning:
        if search.plan:
            tune.append(search.plan.config.model_dump(mode="json", exclude=free))
    content = {
        "reference": plan.reference,
        "cells": cells,
        "study": plan.study.model_dump(mode="json", include={"seeds", "table"}),
        "tune": tune,
    }
    return json.dumps(content, sort_keys=True)
