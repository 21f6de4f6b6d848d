"""Why two different configurations train the same model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ibml.config.trial import TrialConfig, build_canonical_form, flatten

Form = dict[str, Any]
"""Dotted path -> value."""
Condition = tuple[str, Any]
"""A dotted path and the value that it has."""


def get_result_form(config: TrialConfig) -> Form:
    """Return what determines the result of a trial apart from its seed."""
    return flatten(build_canonical_form(config.model_copy(update={"seed": 0})))


def get_full_form(config: TrialConfig) -> Form:
    """Return all values of a trial apart from its seed."""
    return flatten(config.model_dump(mode="json", exclude={"seed"}))


def is_satisfied(conditions: Iterable[Condition], values: Mapping[str, Any]) -> bool:
    """Tell whether a configuration's values meet all conditions."""
    return all(path in values and values[path] == value for path, value in conditions)


def join_conditions(conditions: Iterable[Condition]) -> str:
    """Return the conditions in words."""
    return " and ".join(f"{path} is {_format_value(value)}" for path, value in conditions)


def explain_pair(first: TrialConfig, second: TrialConfig) -> str:
    """Return the end of a message: why two configurations that are not equal train the same model."""
    changes = compare_values(first, second)
    if not changes:
        return ""
    names = ", ".join(changes)
    if all(path.removeprefix("trainer.") in first.trainer.without_effect for path in changes):
        return f"; {names} never changes a result"
    if conditions := find_conditions(first, second):
        return f"; {names} has no effect where {join_conditions(conditions)}"
    values = ", ".join(
        f"{p} ({_format_value(a)} or {_format_value(b)})" for p, (a, b) in changes.items()
    )
    return f"; they differ in {values} alone, which means the same here"


def compare_values(first: TrialConfig, second: TrialConfig) -> dict[str, tuple[Any, Any]]:
    """Return dotted path -> both values, where two configurations differ."""
    one, two = get_full_form(first), get_full_form(second)
    paths = [path for path in dict.fromkeys([*one, *two]) if one.get(path) != two.get(path)]
    return {path: (one.get(path), two.get(path)) for path in paths}


def find_conditions(
    first: TrialConfig,
    second: TrialConfig,
    alternatives: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> tuple[Condition, ...]:
    """Find the values because of which the difference between two configurations has no effect.

    Each value that is not its default is set to the default in both. Where their results then differ, the value is a
    reason. Pairs of values are tried where no single value is one.

    Args:
        first: A configuration.
        second: Another one that trains the same model.
        alternatives: Dotted path -> more values to try.

    Returns:
        The reasons; empty where none is found.
    """
    changed = compare_values(first, second)
    form = get_full_form(first)
    others = [
        (path, form[path], value)
        for path in alternatives
        if path in form
        for value in alternatives[path]
    ]
    values = [
        (path, value, other)
        for path, value, other in [*_iterate_unusual_values(first), *others]
        if value != other
        and not any(name == path or name.startswith(f"{path}.") for name in changed)
    ]
    switches = list(_iterate_other_choices(first)) if len(changed) == 1 else []
    for size, candidates in ((1, [*values, *switches]), (2, values)):
        found: list[Condition] = []
        for chosen in combinations(candidates, size):
            defaults = {path: default for path, _, default in chosen}
            one, two = _replace_values(first, defaults), _replace_values(second, defaults)
            if one and two and get_result_form(one) != get_result_form(two):
                named = [_build_condition(path, value) for path, value, _ in chosen]
                found += [condition for condition in named if condition not in found]
        if found:
            return tuple(found)
    return ()


def _build_condition(path: str, value: Any) -> Condition:
    """A part of another type is named by its type."""
    return (
        (f"{path}.type", value["type"])
        if isinstance(value, dict) and "type" in value
        else (path, value)
    )


def _replace_values(config: TrialConfig, values: Mapping[str, Any]) -> TrialConfig | None:
    plain = config.model_dump(mode="json")
    for path, value in values.items():
        node: Any = plain
        *parents, last = path.split(".")
        for step in parents:
            node = node.get(step, {}) if isinstance(node, dict) else {}
        node[last] = value
    try:
        return TrialConfig.model_validate(plain)
    except ValidationError:
        return None


def _iterate_unusual_values(config: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The path, value and default of each field that has another value than its default."""
    for name, info in type(config).model_fields.items():
        value, path = getattr(config, name), f"{prefix}{name}"
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            if type(default) is not type(value) and isinstance(default, BaseModel):
                yield path, value.model_dump(mode="json"), default.model_dump(mode="json")
            yield from _iterate_unusual_values(value, f"{path}.")
        elif isinstance(value, dict):
            for key, part in value.items():
                if isinstance(part, BaseModel):
                    yield from _iterate_unusual_values(part, f"{path}.{key}.")
        elif not info.is_required() and value != default:
            yield path, _convert_to_plain(value), _convert_to_plain(default)


def _iterate_other_choices(config: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The path and value of each field of few choices that has its default, with each other choice."""
    for name, info in type(config).model_fields.items():
        value, path = getattr(config, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from _iterate_other_choices(value, f"{path}.")
        elif (
            name != "type"
            and not info.is_required()
            and value == info.get_default(call_default_factory=True)
        ):
            choices = (True, False) if info.annotation is bool else get_args(info.annotation)
            if info.annotation is bool or get_origin(info.annotation) is Literal:
                yield from ((path, value, choice) for choice in choices if choice != value)


def _convert_to_plain(value: Any) -> Any:
    """A sequence as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _format_value(value: Any) -> str:
    """Return a value as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_format_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
