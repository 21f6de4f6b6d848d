"""Designs: which arms a study compares, each a layer of settings over the base."""

from __future__ import annotations

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
    """A named set of settings. `may_equal_reference`: where it does, it is the reference and not run again. `levels`
    says which level of each factor of the design the arm has; a component is a factor that is on or off."""

    name: str
    settings: list[Setting]
    source: SourceLocation
    may_equal_reference: bool = False
    levels: dict[str, str] = field(default_factory=dict)
    value: Any = None
    """Of a one-factor design: the value of the factor."""


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor with its levels and the settings of each; the first level is the one that others are compared with."""

    name: str
    levels: dict[str, list[Setting]]
    source: SourceLocation
    component: bool = False


@dataclass(frozen=True)
class ExpandedDesign:
    """The arms of a design, the reference among them, in the order of the file; the levels of its factors, and what
    is to be known of it besides."""

    arms: list[Arm]
    reference: str
    factors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pinned: tuple[str, ...] = ()
    """The paths whose values are what the arms are compared for, in every arm."""
    notes: tuple[str, ...] = ()
    sources: dict[str, SourceLocation] = field(default_factory=dict)
    """Where each factor is written."""
    layers: dict[str, dict[str, list[Setting]]] = field(default_factory=dict)
    """The settings of each level of each factor, where an arm is made of one level of every factor."""


def expand_design(design: Design, document: Document, problems: list[Problem]) -> ExpandedDesign:
    """The arms of a design."""
    match design:
        case ArmsDesign():
            return ExpandedDesign(
                [_build_named_arm(name, document) for name in design.arms], design.reference
            )
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
    short = _shorten_names(list(design.factors))
    for path, values in design.factors.items():
        for index, value in enumerate(values):
            source = document.source(("design", "factors", path, index))
            name, layer = (
                f"{short[path]}={_format_level(value)}",
                _build_setting(path, value, document, source),
            )
            arms.append(Arm(name, layer, source, True, {short[path]: _format_level(value)}, value))
    levels = {
        short[path]: tuple(map(_format_level, values)) for path, values in design.factors.items()
    }
    sources = {short[path]: document.source(("design", "factors", path)) for path in design.factors}
    return ExpandedDesign(arms, BASE, levels, tuple(design.factors), sources=sources)


def _expand_leave_one_out(design: LeaveOneOutDesign, document: Document) -> ExpandedDesign:
    parts = _build_components(design.components, document)
    removed: list[tuple[Factor, ...]] = [(), *((part,) for part in parts)]
    removed += combinations(parts, 2) if design.pairs else ()
    arms = [_build_ablated_arm(off, parts, document) for off in removed]
    return _build_crossed_design(arms, FULL, parts)


def _build_ablated_arm(off: tuple[Factor, ...], parts: list[Factor], document: Document) -> Arm:
    name = f"w/o {', '.join(part.name for part in off)}" if off else FULL
    return _build_combined_arm(name, {part: OFF if part in off else ON for part in parts}, document)


def _expand_cumulative(design: CumulativeDesign, document: Document) -> ExpandedDesign:
    parts = _build_components(design.components, document)
    subsets: Iterable[tuple[Factor, ...]] = [tuple(parts[:size]) for size in range(len(parts) + 1)]
    if design.orders == "all":
        subsets = [subset for size in range(len(parts) + 1) for subset in combinations(parts, size)]
    arms = [
        _build_combined_arm(
            _format_sum(on), {part: ON if part in on else OFF for part in parts}, document
        )
        for on in map(tuple, subsets)
    ]
    return _build_crossed_design(arms, NONE, parts)


def _expand_factorial(
    design: FactorialDesign, document: Document, problems: list[Problem]
) -> ExpandedDesign:
    short = _shorten_names(
        [name for name, levels in design.factors.items() if not isinstance(levels, dict)]
    )
    factors = [
        _build_factor(name, short.get(name, name), design, document) for name in design.factors
    ]
    factors += _build_components(design.components, document)
    for name, given in design.factors.items():
        shown = [_format_level(level) for level in given]
        for level in dict.fromkeys(level for level in shown if shown.count(level) > 1):
            source = document.source(("design", "factors", name))
            problems.append(Problem(source, f"two levels of {name!r} both look like {level!r}"))
    cells: Iterable[tuple[str, ...]] = product(*(factor.levels for factor in factors))
    notes: tuple[str, ...] = ()
    if design.resolution is not None:
        found = find_fraction(len(factors), design.resolution)
        if found is None:
            notes = (
                f"no fraction of resolution {design.resolution} is smaller than the whole design",
            )
        else:
            rows, words = found
            both = [list(factor.levels) for factor in factors]
            cells = [
                tuple(levels[bit] for levels, bit in zip(both, row, strict=False)) for row in rows
            ]
            notes = _describe_fraction([factor.name for factor in factors], len(rows), words)
    arms = []
    for cell in cells:
        chosen = dict(zip(factors, cell, strict=False))
        plain = ", ".join(f"{f.name}={level}" for f, level in chosen.items() if not f.component)
        on = tuple(f for f, level in chosen.items() if f.component and level == ON)
        name = f"{plain} {_format_sum(on)}" if plain and on else plain or _format_sum(on)
        arms.append(_build_combined_arm(name, chosen, document))
    pinned = tuple(name for name in design.factors if name in short)
    reference = design.reference or arms[0].name
    return _build_crossed_design(arms, reference, factors, pinned, notes)


def _describe_fraction(names: list[str], cells: int, words: list[int]) -> tuple[str, ...]:
    resolution = min(word.bit_count() for word in words)
    first = f"a fraction of {cells} of {2 ** len(names)} cells, resolution {resolution}"
    same = describe_aliases(names, words)
    return (
        f"{first}; one contrast each, not to be told apart: {'; '.join(same)}" if same else first,
    )


def _build_factor(key: str, name: str, design: FactorialDesign, document: Document) -> Factor:
    levels = design.factors[key]
    at = ("design", "factors", key)
    if isinstance(levels, Mapping):
        return Factor(
            name,
            {level: read_settings(document, (*at, level)) for level in levels},
            document.source(at),
        )
    placed = {
        _format_level(value): _build_setting(key, value, document, document.source((*at, index)))
        for index, value in enumerate(levels)
    }
    return Factor(name, placed, document.source(at))


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
    """A design whose arms each have one level of every factor."""
    levels = {factor.name: tuple(factor.levels) for factor in factors}
    sources = {factor.name: factor.source for factor in factors}
    layers = {factor.name: factor.levels for factor in factors}
    return ExpandedDesign(arms, reference, levels, pinned, notes, sources, layers)


def _build_combined_arm(name: str, levels: Mapping[Factor, str], document: Document) -> Arm:
    layer = [setting for factor, level in levels.items() for setting in factor.levels[level]]
    source = layer[0].source if layer else document.source(("design",))
    return Arm(name, layer, source, levels={factor.name: level for factor, level in levels.items()})


def _format_sum(parts: tuple[Factor, ...]) -> str:
    return " ".join(f"+ {part.name}" for part in parts) or NONE


def _build_setting(
    path: str, value: Any, document: Document, source: SourceLocation
) -> list[Setting]:
    layer = read_settings(Document(document.file, {path: value}))
    return [Setting(s.path, s.value, source) for s in layer]


def _shorten_names(paths: list[str]) -> dict[str, str]:
    """The last two parts of each path, where that still tells them apart; tables are wide enough without the rest."""
    short = {path: ".".join(path.split(".")[-2:]) for path in paths}
    return short if len(set(short.values())) == len(paths) else {path: path for path in paths}


def _format_level(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{path}={_format_level(part)}" for path, part in flatten(value).items())
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_format_level, value))}]"
    return "none" if value is None else normalize_name(str(value))
