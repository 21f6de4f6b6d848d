"""Arms that are the same configuration: which factor has no effect, and why."""

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
"""Makes the configuration of the arm with these levels; none where it is not valid."""


@dataclass(frozen=True)
class BuiltArm:
    """An arm with its configuration."""

    arm: Arm
    config: TrialConfig


@dataclass(frozen=True)
class _Case:
    """Configurations that differ in the levels of one factor alone and train the same model."""

    levels: tuple[str, ...]
    arms: tuple[str, ...]
    first: TrialConfig
    second: TrialConfig


@dataclass
class _Pairs:
    """What was found: cases by factor, and pairs of arms that no single factor explains."""

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
    """Describe arms that are the same configuration, in one line per factor.

    Args:
        groups: Arms that have the same form, each group with the arm to keep first.
        arms: All arms that could be built.
        design: The design that the arms come from.
        build: Makes arms that are not in the design; a fraction leaves out the neighbours of its arms.
    """
    found = _Pairs()
    values = [get_full_form(built.config) for built in arms]
    for group in groups:
        _explain_group(group, design, build, found)
    problems = [
        Problem(design.sources[factor], _format_factor_message(factor, cases, values, design))
        for factor, cases in found.cases.items()
    ]
    for kept, twin in found.arms:
        message = f"is the same configuration as arm {kept.arm.name!r}{explain_pair(kept.config, twin.config)}"
        problems.append(Problem(twin.arm.source, message))
    return problems


def check_one_factor(
    bases: Mapping[str, TrialConfig], arms: Mapping[str, Sequence[BuiltArm]], design: ExpandedDesign
) -> list[Problem]:
    """Describe the factors with other values than the base that have no effect on any data set.

    Args:
        bases: Data set -> the configuration of the base.
        arms: Data set -> the arms that could be built, the base left out.
        design: A one-factor design.
    """
    problems = []
    for factor, source in design.sources.items():
        own = [
            (bases[name], b.config)
            for name, built in arms.items()
            for b in built
            if factor in b.arm.levels
        ]
        changed = [(base, config) for base, config in own if compare_values(base, config)]
        if not changed or any(
            get_result_form(config) != get_result_form(base) for base, config in own
        ):
            continue
        conditions = find_conditions(*changed[0])
        why = f" since {join_conditions(conditions)}" if conditions else ""
        rest = "" if conditions else explain_pair(*changed[0])
        message = f"{factor!r} has no effect{why}: every value is the same configuration as the base{rest}"
        problems.append(Problem(source, message))
    return problems


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
            linked = {name: min(roots) if root in roots else root for name, root in linked.items()}
    first, seen = group[0], {linked[group[0].arm.name]}
    for other in group[1:]:
        if linked[other.arm.name] not in seen:
            seen.add(linked[other.arm.name])
            _explain_by_neighbours(first, other, design, build, found)


def _group_differing_in(factor: str, group: Sequence[BuiltArm]) -> Iterator[list[BuiltArm]]:
    """The arms of a group that have the same levels of all other factors."""
    by_others: dict[frozenset[tuple[str, str]], list[BuiltArm]] = {}
    for built in group:
        if factor in built.arm.levels:
            others = frozenset(item for item in built.arm.levels.items() if item[0] != factor)
            by_others.setdefault(others, []).append(built)
    yield from (twins for twins in by_others.values() if len(twins) > 1)


def _explain_by_neighbours(
    first: BuiltArm, other: BuiltArm, design: ExpandedDesign, build: ArmBuilder, found: _Pairs
) -> None:
    """Two arms that differ in several factors: try each of these alone."""
    levels, target = first.arm.levels, other.arm.levels
    differing = [name for name in levels if target.get(name, levels[name]) != levels[name]]
    cases: dict[str, _Case] = {}
    for factor in differing if design.layers else ():
        config = build({**levels, factor: target[factor]})
        if config is not None and get_result_form(config) == get_result_form(first.config):
            names = (first.arm.name, other.arm.name)
            cases[factor] = _Case((levels[factor], target[factor]), names, first.config, config)
    if differing and len(cases) == len(differing):
        for factor, case in cases.items():
            found.add(factor, case)
    else:
        found.arms.append((first, other))


def _format_factor_message(
    factor: str, cases: Sequence[_Case], values: Sequence[Form], design: ExpandedDesign
) -> str:
    reasons, explained = _find_reasons(cases, _collect_alternatives(values))
    why = f" where {' or '.join(map(join_conditions, reasons))}" if reasons else ""
    if always := [
        reason for reason in reasons if all(is_satisfied(reason, form) for form in values)
    ]:
        why = f" since {join_conditions(always[0])}"
    elif reasons and not explained:
        why += " or in other arms"
    rest = "" if reasons else explain_pair(cases[0].first, cases[0].second)
    affected = dict.fromkeys(name for case in cases for name in case.arms)
    if len(affected) == 2:
        kept, twin = affected
        return f"{factor!r} has no effect{why}: arm {twin!r} is the same configuration as arm {kept!r}{rest}"
    used = {level for case in cases for level in case.levels}
    levels = [level for level in design.factors[factor] if level in used]
    return (
        f"{factor!r} has no effect{why} ({len(affected)} of {len(design.arms)} arms):"
        f" {', '.join(levels[:-1])} and {levels[-1]} are the same configuration there{rest};"
        " leave the factor out, or name the arms to compare (type: arms)"
    )


def _collect_alternatives(values: Sequence[Form]) -> dict[str, list[Any]]:
    """Dotted path -> the values that it has in the arms, where these differ in it."""
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
    """The conditions under which the factor has no effect, and whether they explain every case. Those found for one
    case are tried on the next."""
    found: list[tuple[Condition, ...]] = []
    explained = True
    for case in cases:
        form = get_full_form(case.first)
        if not any(is_satisfied(conditions, form) for conditions in found):
            conditions = find_conditions(case.first, case.second, alternatives)
            found += [conditions] if conditions else []
            explained = explained and bool(conditions)
    minimal = [reason for reason in found if not any(_is_part_of(other, reason) for other in found)]
    return minimal, explained


def _is_part_of(conditions: tuple[Condition, ...], others: tuple[Condition, ...]) -> bool:
    return len(conditions) < len(others) and all(condition in others for condition in conditions)
