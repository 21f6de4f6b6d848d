"""From a study file to the trials it stands for; every error is found here, before anything runs."""

from __future__ import annotations

import hashlib
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
    """A study, checked and spelled out. `name` is that under which it is recorded: the file's, or with overrides one
    of its own; see `ibml.study.planning.run_names`."""

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
    """One search per cell, in the same order, where the study tunes its arms."""
    warnings: list[str] = field(default_factory=list)
    """What is allowed but probably not meant."""

    @property
    def tuning_trials(self) -> int:
        return sum(
            search.plan.trials * len(search.plan.seeds) for search in self.tuning if search.plan
        )

    @property
    def file_hash(self) -> str:
        """Of the study's text and of every base and search space that it reads."""
        spaces = dict.fromkeys(search.plan.text for search in self.tuning if search.plan)
        return hashlib.sha256("\0".join([self.text, *self.bases, *spaces]).encode()).hexdigest()

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(cell.dataset for cell in self.cells))

    @property
    def trials(self) -> int:
        """Where the number of seeds depends on results: the most that there can be."""
        return len(self.cells) * len(self.study.all_seeds)

    @property
    def epochs(self) -> int:
        return len(self.study.all_seeds) * sum(cell.config.trained_epochs for cell in self.cells)


def load_trial(name: str | Path, overrides: Iterable[str] = ()) -> TrialConfig:
    """The trial configuration of a preset or file with `a.b=c` overrides; raises `ConfigError`."""
    source = SourceLocation(str(name))
    document = find_base(str(name), Path(), source)
    layers = Layers()
    problems = layers.add(read_settings(document))
    problems += layers.add([setting for text in overrides for setting in parse_override(text)])
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
    """The plan of a study file or mapping. `overrides` are `a.b=c` texts over the study's or the trials'
    keys; `seeds` replaces the file's. Raises `ConfigError` with everything that is wrong, where it is `to_run` also
    with a test that could not decide anything; results that a store has of such a study can be read."""
    document = (
        check_kind(documents.build_document(source, "ablation"), STUDY)
        if isinstance(source, Mapping)
        else read_as(source, STUDY)
    )
    near = None if isinstance(source, Mapping) else Path(source).parent
    texts = tuple(overrides)
    groups = [parse_override(text) for text in texts]
    if seeds is not None:
        twice = [
            Problem(s.source, "--seeds is given too")
            for group in groups
            for s in group
            if s.path[0] == "seeds"
        ]
        if twice:
            raise ConfigError(twice)
        groups.append([Setting(("seeds",), seeds, SourceLocation("--seeds"))])
        texts = (*texts, f"seeds={seeds}")

    def build(chosen: Sequence[list[Setting]]) -> Plan:
        return _build_plan(
            document, near, [setting for group in chosen for setting in group], to_run
        )

    plan = build(groups)
    return replace(plan, overrides=texts, name=_choose_name(plan, groups, build))


def _build_plan(document: Document, near: Path | None, extra: list[Setting], to_run: bool) -> Plan:
    in_study = [_normalize_path(s) for s in extra if s.path[0] in StudyConfig.model_fields]
    in_trials = [s for s in extra if s.path[0] in TrialConfig.model_fields]
    document, problems = normalize_names(document)
    document, found = normalize_names(apply_overrides(document, in_study))
    problems += found

    study, found = parse_document(document, StudyConfig)
    problems += found
    problems += find_unknown_sections(extra, [StudyConfig, TrialConfig])
    if study is None:
        raise ConfigError(problems)
    builder = CellBuilder(study, document, near, in_trials, problems)
    cells, notes = builder.cells()
    tuning: list[ArmSearch] = []
    if cells:
        problems += check_table(study, builder.design, cells, document)
        problems += check_decidable(study, cells, document) if to_run else []
        tuning = build_arm_searches(study, document, near, cells, problems) if study.tune else []
    if problems:
        raise ConfigError(problems)
    shared = find_shared_modalities(cells)
    names = list(study.table.metrics or metrics.list_default_metrics(shared))
    bases = tuple(builder.base_texts.values())
    design = builder.design
    warnings = builder.warnings
    return Plan(
        study.name,
        study,
        document.text,
        bases,
        (),
        design.reference,
        cells,
        names,
        notes,
        design,
        tuning,
        warnings,
    )


def _normalize_path(setting: Setting) -> Setting:
    return replace(setting, path=tuple(unicodedata.normalize("NFC", step) for step in setting.path))


def _choose_name(
    plan: Plan, groups: list[list[Setting]], build: Callable[[Sequence[list[Setting]]], Plan]
) -> str:
    """Return the name of a plan with these overrides. It contains those without which it would be another study: not
    those that repeat the file, and not those that no result depends on, such as `resources`."""
    if any(setting.path == ("name",) for group in groups for setting in group):
        return plan.study.name
    kept, whole = sorted(groups, key=lambda group: str(group[0].source)), _serialize_content(plan)
    for group in tuple(kept):
        rest = [other for other in kept if other is not group]
        try:
            kept = rest if _serialize_content(build(rest)) == whole else kept
        except ConfigError:
            continue
    return format_run_name(plan.study.name, [setting for group in kept for setting in group])


def _serialize_content(plan: Plan) -> str:
    """Return all that the record of a study depends on, besides its name and its description, as text."""
    free = {"name", "description", "concurrency", "resources"}
    content = {
        "reference": plan.reference,
        "cells": [
            [cell.dataset, cell.arm, build_canonical_form(cell.config)] for cell in plan.cells
        ],
        "study": plan.study.model_dump(mode="json", include={"seeds", "table"}),
        "tune": [
            s.plan.config.model_dump(mode="json", exclude=free) for s in plan.tuning if s.plan
        ],
    }
    return json.dumps(content, sort_keys=True)
