"""Validation of a search space: every problem is found before anything runs."""

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
from ibml.search.space import (
    Dimension,
    Space,
    Values,
    is_active,
    is_condition_met,
    is_number,
    list_condition_values,
)

_MAX_CONTEXTS = 64
_JOINT_SAMPLES = 200


def order_dimensions(
    parameters: Mapping[str, Parameter], sources: Mapping[str, SourceLocation]
) -> tuple[list[Dimension], list[Problem]]:
    """Order the dimensions such that each one comes after those that its conditions name.

    Args:
        parameters: Parameters by path.
        sources: Location of each parameter in the file.

    Returns:
        The dimensions, and problems with their paths and conditions.
    """
    problems: list[Problem] = []
    waiting: dict[str, set[str]] = {}
    for path, parameter in parameters.items():
        problems += _check_conditions(path, parameters, sources[path])
        waiting[path] = {parent for parent in parameter.when if parent in parameters}
    problems += _check_overlaps(list(parameters), sources)
    order: list[str] = []
    while ready := [path for path, needed in waiting.items() if needed <= set(order)]:
        order.append(ready[0])
        del waiting[ready[0]]
    problems += [Problem(sources[path], "its conditions form a cycle") for path in waiting]
    return [Dimension(path, parameters[path], sources[path]) for path in order], problems


def _check_conditions(
    path: str, parameters: Mapping[str, Parameter], source: SourceLocation
) -> list[Problem]:
    """Check the conditions of a parameter."""
    problems = []
    if path.split(".", maxsplit=1)[0] == "seed":
        message = "'seed' differs between the runs of a trial and cannot be searched"
        problems.append(Problem(source, message))
    for parent, condition in parameters[path].when.items():
        if parent not in parameters:
            hint = format_suggestion(parent, [p for p in parameters if p != path])
            problems.append(Problem(source, f"when: {parent!r} is not searched{hint}"))
        elif parent != path:
            dimension = Dimension(parent, parameters[parent], source)
            problems += _check_condition(condition, dimension)
    return problems


def _check_condition(condition: Any, parent: Dimension) -> list[Problem]:
    """Check that the values of a dimension can meet a condition."""
    if isinstance(condition, Between):
        return _check_bounds(condition, parent)
    problems = []
    choices: list[str] = []
    if not isinstance(parent.parameter, RangeParameter):
        choices = [str(value) for value in parent.grid or []]
    for value in list_condition_values(condition):
        if not parent.contains(value):
            hint = format_suggestion(str(value), choices)
            message = f"when: {parent.path!r} is never {value!r}{hint}"
            problems.append(Problem(parent.source, message))
    return problems


def _check_bounds(condition: Between, parent: Dimension) -> list[Problem]:
    """Check that some value of a dimension is within bounds."""
    parameter = parent.parameter
    values = parent.list_examples()
    if not all(map(is_number, values)):
        message = f"when: {parent.path!r} is not a number, so bounds do not apply"
        return [Problem(parent.source, message)]
    if isinstance(parameter, RangeParameter):
        above = condition.low is not None and condition.low > parameter.high
        below = condition.high is not None and condition.high < parameter.low
        possible = not above and not below
    else:
        possible = any(is_condition_met(condition, value) for value in values)
    if possible:
        return []
    return [Problem(parent.source, f"when: {parent.path!r} is never within these bounds")]


def _check_overlaps(paths: list[str], sources: Mapping[str, SourceLocation]) -> list[Problem]:
    """Check that no parameter is a part of another one."""
    problems = []
    for path, longer in itertools.product(paths, repeat=2):
        if longer.startswith(f"{path}."):
            message = f"is a part of {path!r}, which is searched too"
            problems.append(Problem(sources[longer], message))
    return problems


def build_space(
    base: TrialConfig, dimensions: list[Dimension], name: str
) -> tuple[Space, list[Problem]]:
    """Build and check the space over a base.

    The ends of every range and every choice are tried in a configuration, under each way to meet
    their conditions. If all are valid, joint samples are tried.

    Args:
        base: Configuration of everything that is not searched.
        dimensions: Ordered dimensions.
        name: Name of the search.

    Returns:
        The space and its problems.
    """
    space = Space(base, tuple(dimensions), name)
    problems: list[Problem] = []
    for dimension in dimensions:
        problems += _check_dimension(space, dimension)
    space = Space(base, tuple(_mark_whole(space, d) for d in dimensions), name)
    for dimension in space.dimensions:
        parameter = dimension.parameter
        if not dimension.whole or not isinstance(parameter, RangeParameter):
            continue
        if (parameter.step or 1) % 1:
            message = "the field takes whole numbers, so its step must be a whole number"
            problems.append(Problem(dimension.source, message))
    return space, problems or _check_joint_samples(space)


def has_field(space: Space, dimension: Dimension) -> bool:
    """Return True if the base of a space has the field of a dimension, valid values or not."""
    problems = _check_dimension(space, dimension)
    return not problems or not problems[0].message.startswith(UNKNOWN_KEY)


def _check_dimension(space: Space, dimension: Dimension) -> list[Problem]:
    """Try the examples of a dimension in each context; return the first problem."""
    contexts = _find_contexts(space, dimension)
    if not contexts:
        message = "its conditions are never met, or never all at once"
        return [Problem(dimension.source, message)]
    for context in contexts:
        for value in dimension.list_examples():
            _, problems = space.build_config({**context, dimension.path: value})
            if problems:
                first = problems[0]
                hint = ""
                if first.message.startswith(UNKNOWN_KEY):
                    hint = _suggest_condition(space, dimension, context)
                message = f"{first.message}{hint}"
                return [replace(first, source=dimension.source, message=message)]
    return []


def _find_contexts(space: Space, dimension: Dimension) -> list[Values]:
    """Return values of the other dimensions with which this one is active."""
    needed = _find_ancestors(space, dimension)
    paths: list[str] = []
    examples: list[list[Any]] = []
    for parent in space.dimensions:
        if parent.path in needed:
            paths.append(parent.path)
            examples.append(_collect_example_values(space, parent, dimension))
    contexts: list[Values] = []
    for combination in itertools.islice(itertools.product(*examples), 100 * _MAX_CONTEXTS):
        values = dict(zip(paths, combination, strict=True))
        active = space.walk(lambda d, values=values: values.get(d.path))  # type: ignore[misc]
        context = {path: active[path] for path in paths if path in active}
        if is_active(dimension, context) and context not in contexts:
            contexts.append(context)
        if len(contexts) >= _MAX_CONTEXTS:
            break
    return contexts


def _find_ancestors(space: Space, dimension: Dimension) -> set[str]:
    """Return the paths that conditions name, directly or through other dimensions."""
    by_path = {d.path: d for d in space.dimensions}
    found: set[str] = set()
    waiting = list(dimension.parameter.when)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            if path in by_path:
                waiting += by_path[path].parameter.when
    return found


def _collect_example_values(space: Space, parent: Dimension, child: Dimension) -> list[Any]:
    """Return values of a parent to try: its examples, and values that conditions name."""
    values = parent.list_examples()
    for dimension in (*space.dimensions, child):
        condition = dimension.parameter.when.get(parent.path)
        if isinstance(condition, Between):
            for bound in (condition.low, condition.high):
                if bound is not None:
                    values.append(bound)
            values += [v for v in parent.grid or () if is_condition_met(condition, v)][:2]
        elif isinstance(parent.parameter, RangeParameter) and condition is not None:
            values += list_condition_values(condition)
    wanted = child.parameter.when.get(parent.path)
    usable: list[Any] = []
    for value in values:
        meets = wanted is None or is_condition_met(wanted, value)
        if parent.contains(value) and meets and value not in usable:
            usable.append(value)
    return usable


def _suggest_condition(space: Space, dimension: Dimension, context: Values) -> str:
    """Return a hint if the path exists only for some of the searched types."""
    for other in space.dimensions:
        component = other.path.removesuffix(".type")
        is_type = component != other.path
        if not is_type or not dimension.path.startswith(f"{component}.") or other.path in context:
            continue
        value = dimension.list_examples()[0]
        works: list[str] = []
        for name in other.list_examples():
            values = {**context, other.path: name, dimension.path: value}
            if space.build_config(values)[0] is not None:
                works.append(str(name))
        if works:
            condition = f"{{{other.path}: [{', '.join(works)}]}}"
            return f"; it exists only for some types, so add when: {condition}"
    return ""


def _mark_whole(space: Space, dimension: Dimension) -> Dimension:
    """Return the dimension with `whole` set if its field takes only whole numbers."""
    p = dimension.parameter
    if not isinstance(p, RangeParameter) or isinstance(p.low, float) or isinstance(p.high, float):
        return dimension
    config = None
    contexts = _find_contexts(space, dimension)
    if contexts:
        config, _ = space.build_config({**contexts[0], dimension.path: float(p.low)})
    return replace(dimension, whole=config is None)


def sample_trials(space: Space) -> Iterator[tuple[Values, TrialConfig | None, list[Problem]]]:
    """Sample trials of a space with a fixed seed.

    Args:
        space: The search space.

    Yields:
        Values; the configuration with them, or None if it is not valid; its problems.
    """
    generator = random.Random(0)
    for _ in range(_JOINT_SAMPLES):
        values = space.walk(lambda d: sample_value(d, generator))
        yield values, *space.build_config(values)


def format_values(values: Mapping[str, Any]) -> str:
    """Return values as text: `optimizer.lr: 0.1, trainer.epochs: 5`."""
    return ", ".join(f"{path}: {value}" for path, value in values.items())


def _check_joint_samples(space: Space) -> list[Problem]:
    for values, config, problems in sample_trials(space):
        if config is None:
            message = (
                f"{problems[0].message}, where {format_values(values)}; declare with 'when', or"
                " with choices of complete settings, which values are combined"
            )
            return [replace(problems[0], message=message)]
    return []


def sample_value(dimension: Dimension, generator: random.Random) -> Any:
    """Sample a value of a dimension uniformly; a logarithmic range on its log scale.

    Args:
        dimension: The dimension.
        generator: Random generator.

    Returns:
        The value.
    """
    p = dimension.parameter
    if not isinstance(p, RangeParameter) or p.step is not None:
        return dimension.get_value(generator.randrange(dimension.count or 1))
    if p.log:
        sampled = math.exp(generator.uniform(math.log(p.low), math.log(p.high)))
        value = min(max(sampled, p.low), p.high)
        return round(value) if dimension.whole else value
    if dimension.whole:
        return generator.randint(int(p.low), int(p.high))
    return generator.uniform(p.low, p.high)
