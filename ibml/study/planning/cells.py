"""The cells of a study: every arm on every data set, put together from layers and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibml.common.errors import ConfigError, Problem, SourceLocation, format_suggestion
from ibml.common.yaml.documents import Document, KeyPath
from ibml.config.loading.layers import Layers, Setting, find_base, read_settings
from ibml.config.loading.validation import validate_layers
from ibml.config.study.study import StudyConfig
from ibml.config.trial import TrialConfig, build_canonical_form, flatten
from ibml.study.planning import designs
from ibml.study.planning.designs import BASE
from ibml.study.planning.equivalence import get_result_form
from ibml.study.planning.inert_factors import BuiltArm, check_inert_factors, check_one_factor


@dataclass(frozen=True)
class Cell:
    """An arm on a data set: the configuration of its trials but for the seed, how it differs from
    the reference's (dotted path -> value; None where the arm has no such part), and the paths that the arm sets."""

    dataset: str
    arm: str
    config: TrialConfig
    changes: dict[str, Any]
    pinned: tuple[str, ...] = ()


_MAX_NAMED = 6
"""Arms that a note names one by one."""


class CellBuilder:
    """Crosses the arms with the data sets and checks every cell."""

    def __init__(
        self,
        study: StudyConfig,
        document: Document,
        near: Path | None,
        command_line: list[Setting],
        problems: list[Problem],
    ):
        self.study, self.document, self.near = study, document, near
        self.command_line, self.problems = command_line, problems
        self.design = designs.expand_design(study.design, document, problems)
        self.arms, self.reference = self.design.arms, self.design.reference
        self.base_texts: dict[str, str] = {}
        self._noted: dict[str, list[str]] = {}
        """What is allowed but probably not meant -> the arms."""
        self._inert: list[tuple[str, list[Problem]]] = []
        self._on: dict[str, list[BuiltArm]] = {}

    def cells(self) -> tuple[list[Cell], list[str]]:
        names = [arm.name for arm in self.arms]
        for arm in [arm for position, arm in enumerate(self.arms) if arm.name in names[:position]]:
            self.problems.append(Problem(arm.source, f"two arms would both be called {arm.name!r}"))
        if self.reference not in names:
            message = (
                f"reference {self.reference!r} is no arm{format_suggestion(self.reference, names)}"
            )
            self.problems.append(Problem(self.document.source(("design", "reference")), message))
            self.reference = names[0]
        cells: list[Cell] = []
        notes = list(self.design.notes)
        for dataset, base in self._build_bases().items():
            cells += self._build_dataset_cells(dataset, base, notes)
        self._refuse_inert()
        self._compare_datasets(cells)
        return cells, list(dict.fromkeys(notes))

    @property
    def warnings(self) -> list[str]:
        """What is allowed in the arms, but probably not meant."""
        return [
            f"{self._name_arms(list(dict.fromkeys(arms)))}: {note}"
            for note, arms in self._noted.items()
        ]

    def _name_arms(self, arms: list[str]) -> str:
        """Return names of arms for a note; many are counted, and names with commas are quoted."""
        if len(arms) > _MAX_NAMED:
            return f"{len(arms)} of {len(self.arms)} arms"
        return ", ".join(repr(arm) if "," in arm else arm for arm in arms)

    def _build_bases(self) -> dict[str, Layers]:
        """Per data set: the base, then the study's overrides, the data set's own, and the command line's."""
        bases = {}
        for name, entry in (self.study.datasets or {"": {}}).items():
            layers = self._load_base(name, entry)
            if layers is None:
                continue
            self._add_layer(
                layers, read_settings(self.document, ("overrides",)) if self.study.overrides else []
            )
            if name and isinstance(self.document.data["datasets"], Mapping):
                own = read_settings(self.document, ("datasets", name))
                self._add_layer(layers, [s for s in own if s.path[0] != "base"])
            self._add_layer(layers, self.command_line)
            default = Path(self.study.base).stem if isinstance(self.study.base, str) else "base"
            bases[name or default] = layers
        return bases

    def _add_layer(self, layers: Layers, layer: list[Setting]) -> bool:
        """Put a layer on top; whether all of it could be put."""
        known = len(self.problems)
        for setting in layer:
            if setting.path == ("seed",):
                message = "'seed' differs from trial to trial; a study's seeds are its key 'seeds' (or --seeds)"
                self.problems.append(Problem(setting.source, message))
        self.problems += layers.add(layer)
        return len(self.problems) == known

    def _load_base(self, name: str, entry: dict[str, Any]) -> Layers | None:
        layers = Layers()
        base = entry.get("base", self.study.base)
        if isinstance(base, Mapping):
            at: KeyPath = ("datasets", name, "base") if "base" in entry else ("base",)
            self.problems += layers.add(read_settings(self.document, at))
            return layers
        source = self.document.source(("datasets", name) if "base" in entry else ("base",))
        if not isinstance(base, str):
            self.problems.append(
                Problem(source, "no base: name a preset, a .yaml file or a mapping")
            )
            return None
        try:
            found = find_base(base, self.near, source)
            self.base_texts[found.file] = found.text
            self.problems += layers.add(read_settings(found))
        except ConfigError as error:
            self.problems += error.problems
            return None
        return layers

    def _build_dataset_cells(self, dataset: str, base: Layers, notes: list[str]) -> list[Cell]:
        built = self._build_arms(base)
        groups = _group_equivalent_arms(built)
        reference = next((b.config for b in built if b.arm.name == self.reference), None)
        repeated: set[str] = set()
        for group in groups:
            first, *twins = group
            repeated |= {twin.arm.name for twin in twins}
            if first.arm.name == self.reference and all(
                twin.arm.may_equal_reference for twin in twins
            ):
                where = f" on {dataset}" if len(self.study.datasets) > 1 else ""
                notes += [
                    f"{twin.arm.name} is the base itself{where} and is not run twice"
                    for twin in twins
                ]
                group.clear()
        problems = check_inert_factors(
            filter(None, groups),
            built,
            self.design,
            lambda levels: self._build_config(base, levels),
        )
        self._inert.append((dataset, problems))
        self._on[dataset] = built
        configs = {b.arm.name: b.config for b in built if b.arm.name not in repeated}
        for name, config in configs.items():
            for note in config.notes:
                self._noted.setdefault(note, []).append(name)
        return [
            Cell(
                dataset,
                arm.name,
                configs[arm.name],
                compare_configs(configs[arm.name], reference),
                (*(".".join(setting.path) for setting in arm.settings), *self.design.pinned),
            )
            for arm in self.arms
            if arm.name in configs
        ]

    def _build_arms(self, base: Layers) -> list[BuiltArm]:
        """The arms that can be built on a data set, the reference first."""
        built = []
        for arm in sorted(self.arms, key=lambda arm: arm.name != self.reference):
            layers = base.copy()
            if self._add_layer(layers, arm.settings):
                config, found = validate_layers(layers, arm.source)
                self.problems += found
                built += [BuiltArm(arm, config)] if config else []
        return built

    def _build_config(self, base: Layers, levels: Mapping[str, str]) -> TrialConfig | None:
        """The configuration of an arm that need not be in the design; none where it is not valid."""
        layers = base.copy()
        chosen = [
            setting for name, level in levels.items() for setting in self.design.layers[name][level]
        ]
        if layers.add(chosen):
            return None
        return validate_layers(layers, SourceLocation(""))[0]

    def _refuse_inert(self) -> None:
        """Report factors without effect; a data set is named where the others have no such factor."""
        everywhere = [set(problems) for _, problems in self._inert]
        common = set.intersection(*everywhere) if everywhere else set()
        for dataset, problems in self._inert:
            for problem in problems:
                where = "" if problem in common else f"; on {dataset}"
                self.problems.append(Problem(problem.source, f"{problem.message}{where}"))
        if self.study.design.type == "one_factor":
            bases = {
                name: b.config
                for name, all_of in self._on.items()
                for b in all_of
                if b.arm.name == BASE
            }
            others = {name: [b for b in self._on[name] if b.arm.name != BASE] for name in bases}
            self.problems += check_one_factor(bases, others, self.design)

    def _compare_datasets(self, cells: list[Cell]) -> None:
        seen: dict[str, str] = {}
        for cell in cells:
            if cell.arm != self.reference:
                continue
            form = json.dumps(build_canonical_form(cell.config), sort_keys=True)
            if form in seen:
                source = self.document.source(("datasets", cell.dataset))
                message = f"data set {cell.dataset!r} is the same configuration as {seen[form]!r}"
                self.problems.append(Problem(source, message))
            seen.setdefault(form, cell.dataset)


def _group_equivalent_arms(built: list[BuiltArm]) -> list[list[BuiltArm]]:
    """The arms that are the same configuration, in groups of two and more, in the order of the arms. An arm with a note
    about itself may be the same as another."""
    groups: dict[str, list[BuiltArm]] = {}
    for one in [one for one in built if one.arm.may_equal_reference or not one.config.notes]:
        groups.setdefault(json.dumps(get_result_form(one.config), sort_keys=True), []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def compare_configs(config: TrialConfig, reference: TrialConfig | None) -> dict[str, Any]:
    """Dotted path -> value where a configuration differs from the reference's."""
    form = flatten(config.model_dump(mode="json"))
    other = flatten(reference.model_dump(mode="json")) if reference else {}
    return {
        path: form.get(path)
        for path in dict.fromkeys([*form, *other])
        if form.get(path) != other.get(path)
    }
