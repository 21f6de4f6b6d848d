"""Detection of arms that are the same configuration, and of the factors that have no effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ibml.common.errors import Problem
from ibml.config.trial import TrialConfig
from ibml.study.planning.designs import Arm, ExpandedDesign
from ibml.study.planning.equivalence import (
    Condition,
    Form,
    compare_values,
    explain_pair,
    find_conditions,
    get_full_form,
    get_result_form,
    is_satisfied,
    join_conditions,
)

ArmBuilder = Callable[[Mapping[str, str]], TrialConfig | None]
"""Returns the configuration of the arm with these levels, or None if it is not valid."""


@dataclass(frozen=True)
class BuiltArm:
    """An arm with its configuration.

    Attributes:
        arm: The arm.
        config: Its configuration on a data set.
    """

    arm: Arm
    config: TrialConfig


@dataclass(frozen=True)
class _Case:
    """Configurations that differ in the level of one factor and train the same model.

    Attributes:
        levels: Levels of the factor.
        arms: Names of the arms.
        first: Configuration with the first level.
        second: Configuration with the second level.
    """

    levels: tuple[str, ...]
    arms: tuple[str, ...]
    first: TrialConfig
    second: TrialConfig


@dataclass
class _Pairs:
    """Arms that are the same configuration.

    Attributes:
        cases: Cases by factor.
        arms: Pairs of arms that no single factor explains.
    """

    cases: dict[str, list[_Case]] = field(default_factory=dict)
    arms: list[tuple[BuiltArm, BuiltArm]] = field(default_factory=list)

    def add(self, factor: str, case: _Case) -> None:
        self.cases.setdefault(factor, []).append(case)


def check_inert_factors(
    groups: Iterable[Sequence[BuiltArm]],
    arms: Sequence[BuiltArm],
    design: ExpandedDesign,
    build: ArmBuilder,
) -> list[Problem]:
    """Report arms that are the same configuration, with one problem per factor.

    Args:
        groups: Arms that have the same form, each group with the arm to keep first.
        arms: All arms that could be built.
        design: Design of the arms.
        build: Builds arms that are not in the design, such as the neighbours of an arm that a
            fraction leaves out.

    Returns:
        Problems of factors, then of pairs of arms that no single factor explains.
    """
    found = _Pairs()
    values = [get_full_form(built.config) for built in arms]
    for group in groups:
        _explain_group(group, design, build, found)
    problems = []
    for factor, cases in found.cases.items():
        message = _format_factor_message(factor, cases, values, design)
        problems.append(Problem(design.sources[factor], message))
    for kept, twin in found.arms:
        reason = explain_pair(kept.config, twin.config)
        message = f"is the same configuration as arm {kept.arm.name!r}{reason}"
        problems.append(Problem(twin.arm.source, message))
    return problems


def check_one_factor(
    bases: Mapping[str, TrialConfig],
    arms: Mapping[str, Sequence[BuiltArm]],
    design: ExpandedDesign,
) -> list[Problem]:
    """Report factors with other values than the base that have no effect on any data set.

    Args:
        bases: Configuration of the base, by data set.
        arms: Arms that could be built without the base, by data set.
        design: A one-factor design.

    Returns:
        One problem per factor.
    """
    problems = []
    for factor, source in design.sources.items():
        changed: list[tuple[TrialConfig, TrialConfig]] = []
        has_effect = False
        for name, built in arms.items():
            base = bases[name]
            for one in built:
                if factor in one.arm.levels:
                    if compare_values(base, one.config):
                        changed.append((base, one.config))
                    if get_result_form(one.config) != get_result_form(base):
                        has_effect = True
        if changed and not has_effect:
            message = _explain_one_factor(factor, *changed[0])
            problems.append(Problem(source, message))
    return problems


def _explain_one_factor(factor: str, base: TrialConfig, config: TrialConfig) -> str:
    same = "every value is the same configuration as the base"
    conditions = find_conditions(base, config)
    if conditions:
        return f"{factor!r} has no effect since {join_conditions(conditions)}: {same}"
    return f"{factor!r} has no effect: {same}{explain_pair(base, config)}"


def _explain_group(
    group: Sequence[BuiltArm], design: ExpandedDesign, build: ArmBuilder, found: _Pairs
) -> None:
    """Find the single factors that explain why the arms of a group are the same."""
    linked = {built.arm.name: built.arm.name for built in group}
    for factor in design.factors:
        for twins in _group_differing_in(factor, group):
            levels = tuple(built.arm.levels[factor] for built in twins)
            names = tuple(built.arm.name for built in twins)
            found.add(factor, _Case(levels, names, twins[0].config, twins[1].config))
            roots = {linked[name] for name in names}
            for name, root in linked.items():
                if root in roots:
                    linked[name] = min(roots)
    first = group[0]
    seen = {linked[first.arm.name]}
    for other in group[1:]:
        if linked[other.arm.name] not in seen:
            seen.add(linked[other.arm.name])
            _explain_by_neighbours(first, other, design, build, found)


def _group_differing_in(factor: str, group: Sequence[BuiltArm]) -> Iterator[list[BuiltArm]]:
    """Yield the arms of a group that have the same levels of all other factors."""
    by_others: dict[frozenset[tuple[str, str]], list[BuiltArm]] = {}
    for built in group:
        levels = built.arm.levels
        if factor in levels:
            others = frozenset(item for item in levels.items() if item[0] != factor)
            by_others.setdefault(others, []).append(built)
    for twins in by_others.values():
        if len(twins) > 1:
            yield twins


def _explain_by_neighbours(
    first: BuiltArm, other: BuiltArm, design: ExpandedDesign, build: ArmBuilder, found: _Pairs
) -> None:
    """Try each factor alone in which two arms differ."""
    levels, target = first.arm.levels, other.arm.levels
    differing = [name for name in levels if target.get(name, levels[name]) != levels[name]]
    cases: dict[str, _Case] = {}
    for factor in differing if design.layers else ():
        config = build({**levels, factor: target[factor]})
        if config is not None and get_result_form(config) == get_result_form(first.config):
            names = (first.arm.name, other.arm.name)
            pair = (levels[factor], target[factor])
            cases[factor] = _Case(pair, names, first.config, config)
    if differing and len(cases) == len(differing):
        for factor, case in cases.items():
            found.add(factor, case)
    else:
        found.arms.append((first, other))


def _format_factor_message(
    factor: str, cases: Sequence[_Case], values: Sequence[Form], design: ExpandedDesign
) -> str:
    why = _explain_factor(cases, values)
    rest = "" if why else explain_pair(cases[0].first, cases[0].second)
    affected: dict[str, None] = {}
    used: set[str] = set()
    for case in cases:
        affected.update(dict.fromkeys(case.arms))
        used.update(case.levels)
    if len(affected) == 2:
        kept, twin = affected
        return (
            f"{factor!r} has no effect{why}: arm {twin!r} is the same configuration as arm"
            f" {kept!r}{rest}"
        )
    *levels, last = [level for level in design.factors[factor] if level in used]
    return (
        f"{factor!r} has no effect{why} ({len(affected)} of {len(design.arms)} arms):"
        f" {', '.join(levels)} and {last} are the same configuration there{rest}; remove the"
        " factor, or list the arms to compare (type: arms)"
    )


def _explain_factor(cases: Sequence[_Case], values: Sequence[Form]) -> str:
    """Return the reason why a factor has no effect; empty if none is found.

    Args:
        cases: Cases of the factor.
        values: Values of all arms.

    Returns:
        Text that begins with a space.
    """
    reasons, explained = _find_reasons(cases, _collect_alternatives(values))
    if not reasons:
        return ""
    for reason in reasons:
        if all(is_satisfied(reason, form) for form in values):
            return f" since {join_conditions(reason)}"
    why = f" where {' or '.join(map(join_conditions, reasons))}"
    return why if explained else f"{why} or in other arms"


def _collect_alternatives(values: Sequence[Form]) -> dict[str, list[Any]]:
    """Return the values that differ between arms, by dotted path."""
    found: dict[str, list[Any]] = {}
    for form in values:
        for path, value in form.items():
            known = found.setdefault(path, [])
            if value not in known:
                known.append(value)
    return {path: known for path, known in found.items() if len(known) > 1}


def _find_reasons(
    cases: Sequence[_Case], alternatives: Mapping[str, Sequence[Any]]
) -> tuple[list[tuple[Condition, ...]], bool]:
    """Find the conditions under which a factor has no effect.

    Conditions of one case are tried on the next one. The second value is True if the conditions
    explain every case.
    """
    found: list[tuple[Condition, ...]] = []
    explained = True
    for case in cases:
        form = get_full_form(case.first)
        if any(is_satisfied(conditions, form) for conditions in found):
            continue
        conditions = find_conditions(case.first, case.second, alternatives)
        if conditions:
            found.append(conditions)
        else:
            explained = False
    minimal = [reason for reason in found if not any(_is_part_of(o, reason) for o in found)]
    return minimal, explained


def _is_part_of(conditions: tuple[Condition, ...], others: tuple[Condition, ...]) -> bool:
    return len(conditions) < len(others) and all(c in others for c in conditions)
