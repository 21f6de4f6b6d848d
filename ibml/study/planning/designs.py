"""Designs: the arms that a study compares, each one a layer of settings over the base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

from ibml.common.errors import Problem, SourceLocation
from ibml.common.yaml.documents import Document
from ibml.config.loading.layers import Setting, read_settings
from ibml.config.names import normalize_name
from ibml.config.study.designs import (
    ArmsDesign,
    CumulativeDesign,
    Design,
    FactorialDesign,
    LeaveOneOutDesign,
    OneFactorDesign,
)
from ibml.config.trial import flatten
from ibml.study.planning.fractions import describe_aliases, find_fraction

BASE, FULL, NONE = "base", "full", "none"
OFF, ON = "off", "on"


@dataclass(frozen=True)
class Arm:
    """A named set of settings.

    Attributes:
        name: Name of the arm.
        settings: Settings over the base.
        source: Location in the study's file.
        may_equal_reference: True if the arm may be the same configuration as the reference; it is
            then not run again.
        levels: Level of each factor of the design; a component is a factor that is on or off.
        value: Value of the factor, in a one-factor design.
    """

    name: str
    settings: list[Setting]
    source: SourceLocation
    may_equal_reference: bool = False
    levels: dict[str, str] = field(default_factory=dict)
    value: Any = None


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor of a design.

    Attributes:
        name: Name of the factor.
        levels: Settings of each level; the other levels are compared with the first one.
        source: Location in the study's file.
        component: True if the levels are off and on.
    """

    name: str
    levels: dict[str, list[Setting]]
    source: SourceLocation
    component: bool = False


@dataclass(frozen=True)
class ExpandedDesign:
    """A design with its arms.

    Attributes:
        arms: Arms in the order of the file, with the reference.
        reference: Name of the reference.
        factors: Levels of each factor.
        pinned: Paths that are compared, and therefore set in every arm.
        notes: Notes on the design for the table.
        sources: Location of each factor in the file.
        layers: Settings of each level of each factor, if an arm has one level of every factor.
    """

    arms: list[Arm]
    reference: str
    factors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pinned: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: dict[str, SourceLocation] = field(default_factory=dict)
    layers: dict[str, dict[str, list[Setting]]] = field(default_factory=dict)


def expand_design(design: Design, document: Document, problems: list[Problem]) -> ExpandedDesign:
    """Build the arms of a design.

    Args:
        design: Configuration of the design.
        document: File of the study.
        problems: Problems are appended here.

    Returns:
        The arms and factors.
    """
    match design:
        case ArmsDesign():
            arms = [_build_named_arm(name, document) for name in design.arms]
            return ExpandedDesign(arms, design.reference)
        case OneFactorDesign():
            return _expand_one_factor(design, document)
        case LeaveOneOutDesign():
            return _expand_leave_one_out(design, document)
        case CumulativeDesign():
            return _expand_cumulative(design, document)
        case FactorialDesign():
            return _expand_factorial(design, document, problems)


def _build_named_arm(name: str, document: Document) -> Arm:
    at = ("design", "arms", name)
    return Arm(name, read_settings(document, at), document.source(at))


def _expand_one_factor(design: OneFactorDesign, document: Document) -> ExpandedDesign:
    arms = [Arm(BASE, [], document.source(("design",)))]
    names = _shorten_names(list(design.factors))
    factors: dict[str, tuple[str, ...]] = {}
    sources: dict[str, SourceLocation] = {}
    for path, values in design.factors.items():
        name = names[path]
        factors[name] = tuple(map(_format_level, values))
        sources[name] = document.source(("design", "factors", path))
        for index, value in enumerate(values):
            level = factors[name][index]
            source = document.source(("design", "factors", path, index))
            layer = _build_setting(path, value, document, source)
            arms.append(Arm(f"{name}={level}", layer, source, True, {name: level}, value))
    return ExpandedDesign(arms, BASE, factors, tuple(design.factors), sources=sources)


def _expand_leave_one_out(design: LeaveOneOutDesign, document: Document) -> ExpandedDesign:
    parts = _build_components(design.components, document)
    removed: list[tuple[Factor, ...]] = [(), *combinations(parts, 1)]
    if design.pairs:
        removed += combinations(parts, 2)
    arms = [_build_ablated_arm(off, parts, document) for off in removed]
    return _build_crossed_design(arms, FULL, parts)


def _build_ablated_arm(off: tuple[Factor, ...], parts: list[Factor], document: Document) -> Arm:
    name = f"w/o {', '.join(part.name for part in off)}" if off else FULL
    levels = {part: OFF if part in off else ON for part in parts}
    return _build_combined_arm(name, levels, document)


def _expand_cumulative(design: CumulativeDesign, document: Document) -> ExpandedDesign:
    parts = _build_components(design.components, document)
    subsets: list[tuple[Factor, ...]] = []
    for size in range(len(parts) + 1):
        if design.orders == "all":
            subsets += combinations(parts, size)
        else:
            subsets.append(tuple(parts[:size]))
    arms = []
    for on in subsets:
        levels = {part: ON if part in on else OFF for part in parts}
        arms.append(_build_combined_arm(_format_sum(on), levels, document))
    return _build_crossed_design(arms, NONE, parts)


def _expand_factorial(
    design: FactorialDesign, document: Document, problems: list[Problem]
) -> ExpandedDesign:
    paths = [name for name, levels in design.factors.items() if not isinstance(levels, dict)]
    short = _shorten_names(paths)
    factors = []
    for key, given in design.factors.items():
        factors.append(_build_factor(key, short.get(key, key), design, document))
        problems += _check_levels(key, given, document)
    factors += _build_components(design.components, document)
    cells, notes = _select_cells(factors, design.resolution)
    arms = []
    for cell in cells:
        chosen = dict(zip(factors, cell, strict=False))
        arms.append(_build_combined_arm(_format_cell(chosen), chosen, document))
    pinned = tuple(name for name in design.factors if name in short)
    reference = design.reference or arms[0].name
    return _build_crossed_design(arms, reference, factors, pinned, notes)


def _check_levels(key: str, levels: Iterable[Any], document: Document) -> list[Problem]:
    """Check that the levels of a factor have different names."""
    source = document.source(("design", "factors", key))
    problems = []
    for name, count in Counter(map(_format_level, levels)).items():
        if count > 1:
            problems.append(Problem(source, f"two levels of {key!r} both look like {name!r}"))
    return problems


def _select_cells(
    factors: list[Factor], resolution: int | None
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Return the levels in each cell (all combinations, or a fraction), and notes on them."""
    cells = list(product(*(factor.levels for factor in factors)))
    if resolution is None:
        return cells, ()
    found = find_fraction(len(factors), resolution)
    if found is None:
        return cells, (f"no fraction of resolution {resolution} is smaller than the whole design",)
    rows, words = found
    levels = [list(factor.levels) for factor in factors]
    cells = []
    for row in rows:
        pairs = zip(levels, row, strict=False)
        cells.append(tuple(names[bit] for names, bit in pairs))
    note = _describe_fraction([factor.name for factor in factors], len(rows), words)
    return cells, (note,)


def _format_cell(chosen: Mapping[Factor, str]) -> str:
    """Return the name of an arm: `fusion.type=film + BIO`."""
    plain: list[str] = []
    on: list[Factor] = []
    for factor, level in chosen.items():
        if not factor.component:
            plain.append(f"{factor.name}={level}")
        elif level == ON:
            on.append(factor)
    if plain and on:
        return f"{', '.join(plain)} {_format_sum(on)}"
    return ", ".join(plain) or _format_sum(on)


def _describe_fraction(names: list[str], cells: int, words: list[int]) -> str:
    resolution = min(word.bit_count() for word in words)
    note = f"a fraction of {cells} of {2 ** len(names)} cells, resolution {resolution}"
    aliases = describe_aliases(names, words)
    return f"{note}; aliased effects: {'; '.join(aliases)}" if aliases else note


def _build_factor(key: str, name: str, design: FactorialDesign, document: Document) -> Factor:
    given = design.factors[key]
    at = ("design", "factors", key)
    levels: dict[str, list[Setting]] = {}
    if isinstance(given, Mapping):
        for level in given:
            levels[level] = read_settings(document, (*at, level))
    else:
        for index, value in enumerate(given):
            source = document.source((*at, index))
            levels[_format_level(value)] = _build_setting(key, value, document, source)
    return Factor(name, levels, document.source(at))


def _build_components(components: Mapping[str, Any], document: Document) -> list[Factor]:
    factors = []
    for name in components:
        at = ("design", "components", name)
        levels: dict[str, list[Setting]] = {OFF: read_settings(document, at), ON: []}
        factors.append(Factor(name, levels, document.source(at), component=True))
    return factors


def _build_crossed_design(
    arms: list[Arm],
    reference: str,
    factors: list[Factor],
    pinned: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> ExpandedDesign:
    """Return a design whose arms each have one level of every factor."""
    levels: dict[str, tuple[str, ...]] = {}
    sources: dict[str, SourceLocation] = {}
    layers: dict[str, dict[str, list[Setting]]] = {}
    for factor in factors:
        levels[factor.name] = tuple(factor.levels)
        sources[factor.name] = factor.source
        layers[factor.name] = factor.levels
    return ExpandedDesign(arms, reference, levels, pinned, notes, sources, layers)


def _build_combined_arm(name: str, levels: Mapping[Factor, str], document: Document) -> Arm:
    layer: list[Setting] = []
    names: dict[str, str] = {}
    for factor, level in levels.items():
        layer += factor.levels[level]
        names[factor.name] = level
    source = layer[0].source if layer else document.source(("design",))
    return Arm(name, layer, source, levels=names)


def _format_sum(parts: Iterable[Factor]) -> str:
    return " ".join(f"+ {part.name}" for part in parts) or NONE


def _build_setting(
    path: str, value: Any, document: Document, source: SourceLocation
) -> list[Setting]:
    layer = read_settings(Document(document.file, {path: value}))
    return [Setting(s.path, s.value, source) for s in layer]


def _shorten_names(paths: list[str]) -> dict[str, str]:
    """Return the last two steps of each path if they are unique, for narrower tables."""
    short = {path: ".".join(path.split(".")[-2:]) for path in paths}
    return short if len(set(short.values())) == len(paths) else {path: path for path in paths}


def _format_level(value: object) -> str:
    if isinstance(value, dict):
        parts = flatten(value).items()
        return ",".join(f"{path}={_format_level(part)}" for path, part in parts)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_format_level, value))}]"
    return "none" if value is None else normalize_name(str(value))
