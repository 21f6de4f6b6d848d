"""From a study file to the trials it stands for; every error is found here, before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ibml.config import load, metrics
from ibml.config.base import ConfigError, Problem, Source, did_you_mean
from ibml.config.explain import Finding, findings, path_in_data
from ibml.config.layers import Layers, Setting, find_base, settings
from ibml.config.study import StudyConfig
from ibml.config.trial import TrialConfig, canonical, flatten
from ibml.study import designs

StudySource = str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """An arm on a data set: the configuration of its trials but for the seed, and how it differs from
    the reference's (dotted path -> value; None where the arm has no such part)."""

    dataset: str
    arm: str
    config: TrialConfig
    changes: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A study, checked and spelled out."""

    study: StudyConfig
    file: str
    text: str
    overrides: tuple[str, ...]
    reference: str
    cells: list[Cell]
    metrics: list[str]
    notes: list[str]

    @property
    def file_hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

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
    problems += layers.add([_command_line(text) for text in overrides])
    config, found = _validated(layers, source)
    if problems or found or config is None:
        raise ConfigError([*problems, *found])
    return config


def load_plan(source: StudySource, overrides: Iterable[str] = (), seeds: int | None = None) -> Plan:
    """The plan of a study file or mapping. `overrides` are `a.b=c` texts over the study's or the trials'
    keys; `seeds` replaces the file's. Raises `ConfigError` with everything that is wrong."""
    document = load.from_mapping(source, "ablation") if isinstance(source, Mapping) else load.read(Path(source))
    near = None if isinstance(source, Mapping) else Path(source).parent
    text = _as_yaml(source) if isinstance(source, Mapping) else Path(source).read_text("utf-8-sig")
    given = (*overrides, *([] if seeds is None else [f"seeds={seeds}"]))

    extra = [_command_line(override) for override in overrides]
    if seeds is not None:
        extra.append(Setting(("seeds",), seeds, Source("--seeds")))
    in_study = [s for s in extra if s.path[0] in StudyConfig.model_fields]
    in_trials = [s for s in extra if s.path[0] not in StudyConfig.model_fields]
    document, places = _with_study_overrides(document, in_study)

    study, problems = _study(document, places)
    if study is None:
        raise ConfigError(problems)
    builder = _Builder(study, document, near, in_trials, problems)
    cells, notes = builder.cells()
    if cells:
        problems += _metric_problems(study, cells, document)
    if problems:
        raise ConfigError(problems)
    shared = _shared_modalities(cells)
    names = list(study.table.metrics or metrics.default_table(shared))
    return Plan(study, document.file, text, given, designs.reference(study.design), cells, names, notes)


def _as_yaml(mapping: Mapping[str, Any]) -> str:
    try:
        return yaml.safe_dump(dict(mapping), sort_keys=False)
    except yaml.YAMLError as error:
        raise ConfigError([Problem(Source("ablation"), f"is no plain data: {error}")]) from None


def _command_line(text: str) -> Setting:
    path, equals, value = text.partition("=")
    source = Source(f"-o {text}")
    if not equals or not path.strip():
        raise ConfigError([Problem(source, "expected path=value, for instance trainer.epochs=5")])
    return Setting(tuple(path.strip().split(".")), load.parse_value(value, source.file), source)


def _with_study_overrides(
    document: load.Document, overrides: list[Setting]
) -> tuple[load.Document, dict[tuple[str, ...], Source]]:
    layers = Layers()
    layers.data = deepcopy(document.data)
    problems = layers.add(overrides)
    if problems:
        raise ConfigError(problems)
    return replace(document, data=layers.data), layers.sources


def _study(
    document: load.Document, places: dict[tuple[str, ...], Source]
) -> tuple[StudyConfig | None, list[Problem]]:
    """The study and what is wrong with it; parts that are wrong but not needed to go on are left out,
    so that the errors of the arms are found in the same run."""

    found, data = _check(StudyConfig, document.data)
    problems = []
    for path, message in found:
        given = next((source for where, source in places.items() if path[: len(where)] == where), None)
        problems.append(Problem(given or replace(document.source(path), path=""), message))
    if found:
        for path, _ in found:
            data.pop(str(path[0]), None) if path else None
        data.setdefault("name", "study")
        try:
            return StudyConfig.model_validate(data), problems
        except ValidationError:
            return None, problems
    return StudyConfig.model_validate(data), problems


def _check(model: type[BaseModel], data: dict[str, Any]) -> tuple[list[Finding], dict[str, Any]]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        return findings(error, model, data), dict(data)
    return [], dict(data)


def _validated(layers: Layers, fallback: Source) -> tuple[TrialConfig | None, list[Problem]]:
    """The trial that the layers describe, or what is wrong, each at the place that wrote the value."""
    try:
        return TrialConfig.model_validate(layers.data), []
    except ValidationError as error:
        found = findings(error, TrialConfig, layers.data)
        found += _inconsistencies_beside(error, layers.data)
    return None, [
        Problem(layers.source(tuple(str(step) for step in path if not isinstance(step, int)), fallback), message)
        for path, message in found
    ]


def _inconsistencies_beside(error: ValidationError, data: dict[str, Any]) -> list[Finding]:
    """Sections that do not fit together, although other sections have errors of their own.

    A finding about sections that are wrong themselves would only repeat their errors.
    """
    wrong = {path_in_data(details["loc"], data)[:1] for details in error.errors()} - {()}
    if not wrong or {("data",), ("trainer",)} & wrong:
        return []
    rest = {key: value for key, value in data.items() if (key,) not in wrong}
    try:
        TrialConfig.model_validate(rest)
    except ValidationError as second:
        return [f for f in findings(second, TrialConfig, rest) if f[0][:1] not in wrong]
    return []


class _Builder:
    """Crosses the arms with the data sets and checks every cell."""

    def __init__(
        self,
        study: StudyConfig,
        document: load.Document,
        near: Path | None,
        command_line: list[Setting],
        problems: list[Problem],
    ):
        self.study, self.document, self.near = study, document, near
        self.command_line, self.problems = command_line, problems
        self.arms = designs.expand(study.design, document)
        self.reference = designs.reference(study.design)

    def cells(self) -> tuple[list[Cell], list[str]]:
        names = [arm.name for arm in self.arms]
        if self.reference not in names:
            message = f"reference {self.reference!r} is no arm{did_you_mean(self.reference, names)}"
            self.problems.append(Problem(self.document.source(("design", "reference")), message))
            self.reference = names[0]
        cells: list[Cell] = []
        notes: list[str] = []
        for dataset, base in self._bases().items():
            cells += self._cells_of(dataset, base, notes)
        self._compare_datasets(cells)
        return cells, list(dict.fromkeys(notes))

    def _bases(self) -> dict[str, Layers]:
        """Per data set: the base, then the study's overrides, the data set's own, and the command line's."""
        bases = {}
        for name, entry in (self.study.datasets or {"": {}}).items():
            layers = self._base(name, entry)
            if layers is None:
                continue
            self._put(layers, settings(self.document, ("overrides",)) if self.study.overrides else [])
            if name and isinstance(self.document.data["datasets"], Mapping):
                own = settings(self.document, ("datasets", name))
                self._put(layers, [s for s in own if s.path[0] != "base"])
            self._put(layers, self.command_line)
            default = Path(self.study.base).stem if isinstance(self.study.base, str) else "base"
            bases[name or default] = layers
        return bases

    def _put(self, layers: Layers, layer: list[Setting]) -> bool:
        """Put a layer on top; whether all of it could be put."""
        known = len(self.problems)
        for setting in layer:
            if setting.path == ("seed",):
                message = "'seed' differs from trial to trial; a study's seeds are its key 'seeds' (or --seeds)"
                self.problems.append(Problem(setting.source, message))
        self.problems += layers.add(layer)
        return len(self.problems) == known

    def _base(self, name: str, entry: dict[str, Any]) -> Layers | None:
        layers = Layers()
        base = entry.get("base", self.study.base)
        if isinstance(base, Mapping):
            at: load.Path_ = ("datasets", name, "base") if "base" in entry else ("base",)
            self.problems += layers.add(settings(self.document, at))
            return layers
        source = self.document.source(("datasets", name) if "base" in entry else ("base",))
        if not isinstance(base, str):
            self.problems.append(Problem(source, "no base: name a preset, a .yaml file or a mapping"))
            return None
        try:
            self.problems += layers.add(settings(find_base(base, self.near, source)))
        except ConfigError as error:
            self.problems += error.problems
            return None
        return layers

    def _cells_of(self, dataset: str, base: Layers, notes: list[str]) -> list[Cell]:
        configs: dict[str, TrialConfig] = {}
        forms: dict[str, dict[str, Any]] = {}
        for arm in sorted(self.arms, key=lambda arm: arm.name != self.reference):
            layers = base.copy()
            if not self._put(layers, arm.settings):
                continue
            config, found = _validated(layers, arm.source)
            self.problems += found
            if config is None:
                continue
            form = flatten(canonical(config.model_copy(update={"seed": 0})))
            twin = next((name for name, other in forms.items() if other == form), None)
            if twin == self.reference and arm.may_equal_reference:
                notes.append(f"{arm.name} is the base itself and is not run twice")
            elif twin is not None:
                self.problems.append(Problem(arm.source, f"is the same configuration as arm {twin!r}"))
            else:
                configs[arm.name], forms[arm.name] = config, form
        reference = configs.get(self.reference)
        return [
            Cell(dataset, arm.name, configs[arm.name], _changes(configs[arm.name], reference))
            for arm in self.arms
            if arm.name in configs
        ]

    def _compare_datasets(self, cells: list[Cell]) -> None:
        seen: dict[str, str] = {}
        for cell in cells:
            if cell.arm != self.reference:
                continue
            form = json.dumps(canonical(cell.config), sort_keys=True)
            if form in seen:
                source = self.document.source(("datasets", cell.dataset))
                message = f"data set {cell.dataset!r} is the same configuration as {seen[form]!r}"
                self.problems.append(Problem(source, message))
            seen.setdefault(form, cell.dataset)


def _changes(config: TrialConfig, reference: TrialConfig | None) -> dict[str, Any]:
    form = flatten(config.model_dump(mode="json"))
    other = flatten(reference.model_dump(mode="json")) if reference else {}
    return {path: form.get(path) for path in dict.fromkeys([*form, *other]) if form.get(path) != other.get(path)}


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
