"""The cells of a study: every arm on every data set, built from layers and checked."""

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
    """An arm on a data set.

    Attributes:
        dataset: Name of the data set.
        arm: Name of the arm.
        config: Configuration of its trials, without a seed.
        changes: Values that differ from the reference's, by path; None where the arm has no such
            field.
        pinned: Paths that the arm sets.
    """

    dataset: str
    arm: str
    config: TrialConfig
    changes: dict[str, Any]
    pinned: tuple[str, ...] = ()


_MAX_NAMED = 6
"""Maximum number of arms that a note names one by one."""


class CellBuilder:
    """Combines the arms with the data sets and checks every cell.

    Args:
        study: The study.
        document: Its file.
        directory: Directory that bases are relative to.
        command_line: Overrides of trial configurations from the command line.
        problems: Problems are appended here.
    """

    def __init__(
        self,
        study: StudyConfig,
        document: Document,
        directory: Path | None,
        command_line: list[Setting],
        problems: list[Problem],
    ):
        self.study = study
        self.document = document
        self.directory = directory
        self.command_line = command_line
        self.problems = problems
        self.design = designs.expand_design(study.design, document, problems)
        self.arms = self.design.arms
        self.reference = self.design.reference
        self.base_texts: dict[str, str] = {}
        self._noted: dict[str, list[str]] = {}
        """Arms by note on a setting that is valid but probably not intended."""
        self._inert: list[tuple[str, list[Problem]]] = []
        """Problems of arms that are the same configuration, by data set."""
        self._built: dict[str, list[BuiltArm]] = {}
        """Arms by data set."""

    def build_cells(self) -> tuple[list[Cell], list[str]]:
        """Build all cells, and append what is wrong to `problems`.

        Returns:
            The cells, and notes on the design.
        """
        self._check_arm_names()
        cells: list[Cell] = []
        notes = list(self.design.notes)
        for dataset, base in self._build_bases().items():
            cells += self._build_dataset_cells(dataset, base, notes)
        self._refuse_inert()
        self._compare_datasets(cells)
        return cells, list(dict.fromkeys(notes))

    def _check_arm_names(self) -> None:
        """Report arms of the same name, and a reference that is not an arm."""
        names = [arm.name for arm in self.arms]
        for position, arm in enumerate(self.arms):
            if arm.name in names[:position]:
                message = f"two arms would have the name {arm.name!r}"
                self.problems.append(Problem(arm.source, message))
        if self.reference not in names:
            message = f"reference {self.reference!r} is not an arm"
            message += format_suggestion(self.reference, names)
            source = self.document.source(("design", "reference"))
            self.problems.append(Problem(source, message))
            self.reference = names[0]

    @property
    def warnings(self) -> list[str]:
        """Notes on settings of arms that are valid but probably not intended."""
        return [f"{self._name_arms(arms)}: {note}" for note, arms in self._noted.items()]

    def _name_arms(self, repeated: list[str]) -> str:
        """Return names of arms for a note; many are counted, and names with commas are quoted."""
        arms = list(dict.fromkeys(repeated))
        if len(arms) > _MAX_NAMED:
            return f"{len(arms)} of {len(self.arms)} arms"
        return ", ".join(repr(arm) if "," in arm else arm for arm in arms)

    def _build_bases(self) -> dict[str, Layers]:
        """Return the layers below the arms, by data set.

        From bottom to top: the base, the study's overrides, the data set's overrides, and those of
        the command line.
        """
        bases = {}
        for name, entry in (self.study.datasets or {"": {}}).items():
            layers = self._load_base(name, entry)
            if layers is None:
                continue
            if self.study.overrides:
                self._add_layer(layers, read_settings(self.document, ("overrides",)))
            if name and isinstance(self.document.data["datasets"], Mapping):
                own = read_settings(self.document, ("datasets", name))
                self._add_layer(layers, [s for s in own if s.path[0] != "base"])
            self._add_layer(layers, self.command_line)
            default = Path(self.study.base).stem if isinstance(self.study.base, str) else "base"
            bases[name or default] = layers
        return bases

    def _add_layer(self, layers: Layers, layer: list[Setting]) -> bool:
        """Add a layer on top; return True if there was no problem."""
        known = len(self.problems)
        for setting in layer:
            if setting.path == ("seed",):
                message = "'seed' differs between trials; use 'seeds' of the study, or --seeds"
                self.problems.append(Problem(setting.source, message))
        self.problems += layers.add(layer)
        return len(self.problems) == known

    def _load_base(self, name: str, entry: dict[str, Any]) -> Layers | None:
        """Return the base of a data set as a layer."""
        layers = Layers()
        base = entry.get("base", self.study.base)
        if isinstance(base, Mapping):
            at: KeyPath = ("datasets", name, "base") if "base" in entry else ("base",)
            self.problems += layers.add(read_settings(self.document, at))
            return layers
        source = self.document.source(("datasets", name) if "base" in entry else ("base",))
        if not isinstance(base, str):
            message = "no base: name a preset, a .yaml file or a mapping"
            self.problems.append(Problem(source, message))
            return None
        try:
            found = find_base(base, self.directory, source)
            self.base_texts[found.file] = found.text
            self.problems += layers.add(read_settings(found))
        except ConfigError as error:
            self.problems += error.problems
            return None
        return layers

    def _build_dataset_cells(self, dataset: str, base: Layers, notes: list[str]) -> list[Cell]:
        """Build the cells of a data set; record arms that are the same configuration."""
        built = self._build_arms(base)
        self._built[dataset] = built
        named = (one.config for one in built if one.arm.name == self.reference)
        reference = next(named, None)
        repeated: set[str] = set()
        groups: list[list[BuiltArm]] = []
        for group in _group_equivalent_arms(built):
            first, *twins = group
            repeated.update(twin.arm.name for twin in twins)
            allowed = all(twin.arm.may_equal_reference for twin in twins)
            if first.arm.name == self.reference and allowed:
                where = f" on {dataset}" if len(self.study.datasets) > 1 else ""
                notes += [
                    f"{twin.arm.name} equals the base{where} and is run once" for twin in twins
                ]
            else:
                groups.append(group)
        problems = check_inert_factors(
            groups, built, self.design, lambda levels: self._build_config(base, levels)
        )
        self._inert.append((dataset, problems))
        configs = {one.arm.name: one.config for one in built if one.arm.name not in repeated}
        for name, config in configs.items():
            for note in config.notes:
                self._noted.setdefault(note, []).append(name)
        cells = []
        for arm in self.arms:
            if arm.name in configs:
                config = configs[arm.name]
                own = [".".join(setting.path) for setting in arm.settings]
                pinned = (*own, *self.design.pinned)
                changes = compare_configs(config, reference)
                cells.append(Cell(dataset, arm.name, config, changes, pinned))
        return cells

    def _build_arms(self, base: Layers) -> list[BuiltArm]:
        """Return the arms that are valid on a data set, the reference first."""
        built = []
        for arm in sorted(self.arms, key=lambda arm: arm.name != self.reference):
            layers = base.copy()
            if self._add_layer(layers, arm.settings):
                config, found = validate_layers(layers, arm.source)
                self.problems += found
                if config:
                    built.append(BuiltArm(arm, config))
        return built

    def _build_config(self, base: Layers, levels: Mapping[str, str]) -> TrialConfig | None:
        """Return the configuration with these levels of the factors, or None if it is not valid."""
        layers = base.copy()
        chosen: list[Setting] = []
        for name, level in levels.items():
            chosen += self.design.layers[name][level]
        if layers.add(chosen):
            return None
        config, _ = validate_layers(layers, SourceLocation(""))
        return config

    def _refuse_inert(self) -> None:
        """Report factors without effect; name the data set if the others have no such factor."""
        everywhere = [set(problems) for _, problems in self._inert]
        common = set.intersection(*everywhere) if everywhere else set()
        for dataset, problems in self._inert:
            for problem in problems:
                where = "" if problem in common else f"; on {dataset}"
                self.problems.append(Problem(problem.source, f"{problem.message}{where}"))
        if self.study.design.type == "one_factor":
            self._refuse_inert_values()

    def _refuse_inert_values(self) -> None:
        """Report factors of a one-factor design none of whose values has an effect."""
        bases: dict[str, TrialConfig] = {}
        others: dict[str, list[BuiltArm]] = {}
        for dataset, built in self._built.items():
            for one in built:
                if one.arm.name == BASE:
                    bases[dataset] = one.config
            if dataset in bases:
                others[dataset] = [one for one in built if one.arm.name != BASE]
        self.problems += check_one_factor(bases, others, self.design)

    def _compare_datasets(self, cells: list[Cell]) -> None:
        """Report data sets with the same configuration."""
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
    """Return the arms that are the same configuration, in groups of two or more.

    The order of the arms is kept. An arm whose configuration has notes may equal another arm.
    """
    groups: dict[str, list[BuiltArm]] = {}
    for one in built:
        if one.arm.may_equal_reference or not one.config.notes:
            form = json.dumps(get_result_form(one.config), sort_keys=True)
            groups.setdefault(form, []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def compare_configs(config: TrialConfig, reference: TrialConfig | None) -> dict[str, Any]:
    """Return the values of a configuration that differ from the reference's.

    Args:
        config: A configuration.
        reference: Configuration of the reference, or None to return all values.

    Returns:
        Values by dotted path; None where the configuration has no such field.
    """
    form = flatten(config.model_dump(mode="json"))
    other = flatten(reference.model_dump(mode="json")) if reference else {}
    changes: dict[str, Any] = {}
    for path in dict.fromkeys([*form, *other]):
        if form.get(path) != other.get(path):
            changes[path] = form.get(path)
    return changes
