"""From a study file to the trials it stands for; every error is found here, before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ibml.config import load, metrics
from ibml.config.base import ConfigError, Problem, Source, did_you_mean
from ibml.config.explain import findings
from ibml.config.layers import Layers, Setting, find_base, settings
from ibml.config.study import StudyConfig
from ibml.config.trial import TrialConfig
from ibml.study import designs
from ibml.study.cells import Cell, CellBuilder, validated

StudySource = str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """A study, checked and spelled out."""

    study: StudyConfig
    text: str
    bases: tuple[str, ...]
    overrides: tuple[str, ...]
    reference: str
    cells: list[Cell]
    metrics: list[str]
    notes: list[str]

    @property
    def file_hash(self) -> str:
        """Of the study's text and of every base that it reads."""
        return hashlib.sha256("\0".join([self.text, *self.bases]).encode()).hexdigest()

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(cell.dataset for cell in self.cells))

    @property
    def trials(self) -> int:
        return len(self.cells) * len(self.study.seeds)

    @property
    def epochs(self) -> int:
        return len(self.study.seeds) * sum(cell.config.trainer.epochs for cell in self.cells)


def load_trial(name: str | Path, overrides: Iterable[str] = ()) -> TrialConfig:
    """The trial configuration of a preset or file with `a.b=c` overrides; raises `ConfigError`."""
    source = Source(str(name))
    document = find_base(str(name), Path(), source)
    layers = Layers()
    problems = layers.add(settings(document))
    problems += layers.add([setting for text in overrides for setting in _command_line(text)])
    config, found = validated(layers, source)
    if problems or found or config is None:
        raise ConfigError([*problems, *found])
    return config


def load_plan(source: StudySource, overrides: Iterable[str] = (), seeds: int | None = None) -> Plan:
    """The plan of a study file or mapping. `overrides` are `a.b=c` texts over the study's or the trials'
    keys; `seeds` replaces the file's. Raises `ConfigError` with everything that is wrong."""
    document = load.from_mapping(source, "ablation") if isinstance(source, Mapping) else load.read(Path(source))
    near = None if isinstance(source, Mapping) else Path(source).parent
    given = (*overrides, *([] if seeds is None else [f"seeds={seeds}"]))

    extra = [setting for override in overrides for setting in _command_line(override)]
    if seeds is not None:
        extra.append(Setting(("seeds",), seeds, Source("--seeds")))
    in_study = [s for s in extra if s.path[0] in StudyConfig.model_fields]
    in_trials = [s for s in extra if s.path[0] not in StudyConfig.model_fields]
    document = _with_study_overrides(document, in_study)

    study, problems = _study(document)
    if study is None:
        raise ConfigError(problems)
    builder = CellBuilder(study, document, near, in_trials, problems)
    cells, notes = builder.cells()
    if cells:
        problems += _metric_problems(study, cells, document)
    if problems:
        raise ConfigError(problems)
    shared = _shared_modalities(cells)
    names = list(study.table.metrics or metrics.default_table(shared))
    bases = tuple(builder.base_texts.values())
    return Plan(study, document.text, bases, given, designs.reference(study.design), cells, names, notes)


def _command_line(text: str) -> list[Setting]:
    """The settings of one `path=value`; a mapping as value merges as it does in a file."""
    path, equals, value = text.partition("=")
    source = Source(f"-o {text}")
    steps = tuple(path.strip().split("."))
    if not equals or not all(steps):
        raise ConfigError([Problem(source, "expected path=value, for instance trainer.epochs=5")])
    parsed = load.parse_value(value, source.file)
    if not isinstance(parsed, dict) or not parsed:
        return [Setting(steps, parsed, source)]
    inside = settings(load.Document(source.file, parsed))
    return [Setting((*steps, *setting.path), setting.value, source) for setting in inside]


def _with_study_overrides(document: load.Document, overrides: list[Setting]) -> load.Document:
    """The document with the command line's values in it, over nested and over dotted keys alike."""
    data, elsewhere = deepcopy(document.data), dict(document.elsewhere)
    for setting in overrides:
        node: dict[str, Any] = data
        place: tuple[str, ...] = ()
        steps = setting.path
        while len(steps) > 1 and ".".join(steps) not in node:
            step, steps = steps[0], steps[1:]
            if not isinstance(node.get(step), dict):
                node[step] = {}
            node, place = node[step], (*place, step)
        node[".".join(steps)] = deepcopy(setting.value)
        elsewhere[(*place, ".".join(steps))] = setting.source
    return replace(document, data=data, elsewhere=elsewhere)


def _study(document: load.Document) -> tuple[StudyConfig | None, list[Problem]]:
    """The study and what is wrong with it; parts that are wrong but not needed to go on are left out,
    so that the errors of the arms are found in the same run."""
    try:
        return StudyConfig.model_validate(document.data), []
    except ValidationError as error:
        found = findings(error, StudyConfig, document.data)
    problems = [Problem(replace(document.source(path), path=""), message) for path, message in found]
    wrong = {path[0] for path, _ in found if path}
    rest = {key: value for key, value in document.data.items() if key not in wrong}
    try:
        return StudyConfig.model_validate({"name": "study", **rest}), problems
    except ValidationError:
        return None, problems


def _shared_modalities(cells: list[Cell]) -> list[str]:
    first, *rest = [cell.config.data.modalities for cell in cells]
    return [name for name in first if all(name in other for other in rest)]


def _metric_problems(study: StudyConfig, cells: list[Cell], document: load.Document) -> list[Problem]:
    known = dict.fromkeys(name for cell in cells for name in metrics.table_names(cell.config.data.modalities))
    return [
        Problem(document.source(("table", "metrics", index)), f"no trial logs {name!r}{did_you_mean(name, known)}")
        for index, name in enumerate(study.table.metrics or ())
        if name not in known
    ]
