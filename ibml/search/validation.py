"""Builds a space from a file and finds everything that is wrong with it before anything runs."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ibml.common.errors import Problem, SourceLocation, format_suggestion
from ibml.config.loading.error_messages import UNKNOWN_KEY
from ibml.config.search.space import Between, Parameter, RangeParameter
from ibml.config.trial import TrialConfig
from ibml.search.space import Dimension, Space, Values, is_active, is_condition_met

_MAX_CONTEXTS = 64
_JOINT_SAMPLES = 200


def order_dimensions(
    parameters: Mapping[str, Parameter], sources: Mapping[str, SourceLocation]
) -> tuple[list[Dimension], list[Problem]]:
    """The dimensions, conditions first, and what is wrong with paths and conditions among themselves."""
    problems = [
        problem
        for path in parameters
        for problem in _check_conditions(path, parameters, sources[path])
    ]
    problems += _check_overlaps(list(parameters), sources)
    waiting = {
        path: {p for p in parameter.when if p in parameters}
        for path, parameter in parameters.items()
    }
    order: list[str] = []
    while ready := [path for path, needed in waiting.items() if needed <= set(order)]:
        order.append(ready[0])
        del waiting[ready[0]]
    problems += [Problem(sources[path], "its conditions lead back to itself") for path in waiting]
    return [Dimension(path, parameters[path], sources[path]) for path in order], problems


def _check_conditions(
    path: str, parameters: Mapping[str, Parameter], source: SourceLocation
) -> list[Problem]:
    problems = []
    if path.split(".", maxsplit=1)[0] == "seed":
        problems.append(Problem(source, "'seed' differs from trial to trial and is not searched"))
    for parent, condition in parameters[path].when.items():
        if parent not in parameters:
            hint = format_suggestion(parent, [p for p in parameters if p != path])
            problems.append(Problem(source, f"when: {parent!r} is not searched{hint}"))
        elif parent != path:
            problems += _check_condition(parent, condition, parameters[parent], source)
    return problems


def _check_condition(
    parent: str, condition: Any, parameter: Parameter, source: SourceLocation
) -> list[Problem]:
    """A condition that no value of its parameter meets, or a value in it that the parameter never has."""
    dimension = Dimension(parent, parameter, source)
    if isinstance(condition, Between):
        values = dimension.list_examples()
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            return [
                Problem(source, f"when: {parent!r} is no number, so bounds say nothing about it")
            ]
        if isinstance(parameter, RangeParameter):
            low, high = condition.low, condition.high
            never = (low is not None and low > parameter.high) or (
                high is not None and high < parameter.low
            )
        else:
            never = not any(is_condition_met(condition, v) for v in values)
        return (
            [Problem(source, f"when: {parent!r} never lies between these bounds")] if never else []
        )
    asked = condition if isinstance(condition, tuple) else (condition,)
    choices = (
        [str(v) for v in dimension.grid or []] if not isinstance(parameter, RangeParameter) else []
    )
    return [
        Problem(
            source, f"when: {parent!r} is never {value!r}{format_suggestion(str(value), choices)}"
        )
        for value in asked
        if not dimension.contains(value)
    ]


def _check_overlaps(paths: list[str], sources: Mapping[str, SourceLocation]) -> list[Problem]:
    return [
        Problem(sources[longer], f"is a part of {path!r}, which is searched too")
        for path in paths
        for longer in paths
        if longer.startswith(f"{path}.")
    ]


def build_space(
    base: TrialConfig, dimensions: list[Dimension], name: str
) -> tuple[Space, list[Problem]]:
    """The space over a base. Every value at an end of a range and every choice is tried in a configuration, under
    each way to meet its conditions; then a number of joint draws."""
    space = Space(base, tuple(dimensions), name)
    problems: list[Problem] = []
    for dimension in dimensions:
        problems += _check_dimension(space, dimension)
    space = Space(base, tuple(_mark_whole(space, d) for d in dimensions), name)
    problems += [
        Problem(d.source, "the field takes whole numbers, so its step is one too")
        for d in space.dimensions
        if d.whole and isinstance(d.parameter, RangeParameter) and (d.parameter.step or 1) % 1
    ]
    return space, problems or _check_joint_samples(space)


def has_field(space: Space, dimension: Dimension) -> bool:
    """Whether the base of the space has such a field, whatever else may be wrong with the dimension's values."""
    problems = _check_dimension(space, dimension)
    return not problems or not problems[0].message.startswith(UNKNOWN_KEY)


def _check_dimension(space: Space, dimension: Dimension) -> list[Problem]:
    contexts = _find_contexts(space, dimension)
    if not contexts:
        return [Problem(dimension.source, "its conditions never hold, or never all at once")]
    for context in contexts:
        for value in dimension.list_examples():
            _, problems = space.trial({**context, dimension.path: value})
            if problems:
                unknown = problems[0].message.startswith(UNKNOWN_KEY)
                hint = _suggest_condition(space, dimension, context) if unknown else ""
                return [
                    replace(p, source=dimension.source, message=f"{p.message}{hint}")
                    for p in problems[:1]
                ]
    return []


def _find_contexts(space: Space, dimension: Dimension) -> list[Values]:
    """Values of the other dimensions under which this one is active."""
    needed = _find_ancestors(space, dimension)
    parents = [d for d in space.dimensions if d.path in needed]
    combinations = itertools.product(
        *(_collect_example_values(space, d, dimension) for d in parents)
    )
    contexts = []
    for combination in itertools.islice(combinations, 100 * _MAX_CONTEXTS):
        values = dict(zip([d.path for d in parents], combination, strict=True))
        kept = space.walk(lambda d, values=values: values.get(d.path))  # type: ignore[misc]
        context = {path: kept[path] for path in values if path in kept}
        if is_active(dimension, context) and context not in contexts:
            contexts.append(context)
        if len(contexts) >= _MAX_CONTEXTS:
            break
    return contexts


def _find_ancestors(space: Space, dimension: Dimension) -> set[str]:
    by_path = {d.path: d for d in space.dimensions}
    found: set[str] = set()
    new = set(dimension.parameter.when)
    while new:
        found |= new
        new = {p for path in new if path in by_path for p in by_path[path].parameter.when} - found
    return found


def _collect_example_values(space: Space, parent: Dimension, child: Dimension) -> list[Any]:
    """Values of a parent to try: its own examples, and the bounds and values that conditions name."""
    values = parent.list_examples()
    for dimension in (*space.dimensions, child):
        condition = dimension.parameter.when.get(parent.path)
        if isinstance(condition, Between):
            values += [bound for bound in (condition.low, condition.high) if bound is not None]
            values += [v for v in parent.grid or () if is_condition_met(condition, v)][:2]
        elif isinstance(parent.parameter, RangeParameter) and condition is not None:
            values += condition if isinstance(condition, tuple) else (condition,)
    wanted = child.parameter.when.get(parent.path)
    usable = [
        v for v in values if parent.contains(v) and (wanted is None or is_condition_met(wanted, v))
    ]
    return [v for position, v in enumerate(usable) if v not in usable[:position]]


def _suggest_condition(space: Space, dimension: Dimension, context: Values) -> str:
    """A hint where the path exists for some of the types that are searched beside it."""
    for other in space.dimensions:
        component = other.path.removesuffix(".type")
        if (
            component == other.path
            or not dimension.path.startswith(f"{component}.")
            or other.path in context
        ):
            continue
        value = dimension.list_examples()[0]
        works = [
            t
            for t in other.list_examples()
            if space.trial({**context, other.path: t, dimension.path: value})[0]
        ]
        if works:
            return f"; it exists for some types only, so say when: {{{other.path}: [{', '.join(map(str, works))}]}}"
    return ""


def _mark_whole(space: Space, dimension: Dimension) -> Dimension:
    """The dimension, marked as whole numbers where its field takes nothing else."""
    p = dimension.parameter
    if not isinstance(p, RangeParameter) or isinstance(p.low, float) or isinstance(p.high, float):
        return dimension
    contexts = _find_contexts(space, dimension)
    config, _ = (
        space.trial({**contexts[0], dimension.path: float(p.low)}) if contexts else (None, [])
    )
    return replace(dimension, whole=config is None)


def sample_trials(space: Space) -> Iterator[tuple[Values, TrialConfig | None, list[Problem]]]:
    """Joint draws: values, and the configuration or what is wrong with it."""
    generator = random.Random(0)
    for _ in range(_JOINT_SAMPLES):
        values = space.walk(lambda d: sample_value(d, generator))
        yield values, *space.trial(values)


def _check_joint_samples(space: Space) -> list[Problem]:
    for values, config, problems in sample_trials(space):
        if config is None:
            shown = ", ".join(f"{path}: {value}" for path, value in values.items())
            message = f"{problems[0].message}, where {shown}; say with 'when', or with choices of whole settings, "
            message += "which values go together"
            return [replace(problems[0], message=message)]
    return []


def sample_value(dimension: Dimension, generator: random.Random) -> Any:
    """A value at random, of a range on its scale."""
    p = dimension.parameter
    if not isinstance(p, RangeParameter) or p.step is not None:
        return dimension.get_value(generator.randrange(dimension.count or 1))
    if p.log:
        sample_trials = math.exp(generator.uniform(math.log(p.low), math.log(p.high)))
        value = min(max(sample_trials, p.low), p.high)
        return round(value) if dimension.whole else value
    return (
        generator.randint(int(p.low), int(p.high))
        if dimension.whole
        else generator.uniform(p.low, p.high)
    )
