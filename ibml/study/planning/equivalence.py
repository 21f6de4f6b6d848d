"""Explanations why two different configurations train the same model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ibml.config.trial import TrialConfig, build_canonical_form, flatten
from ibml.search.space import is_at_or_below

Form = dict[str, Any]
"""Values by dotted path."""
Condition = tuple[str, Any]
"""A dotted path and its value."""


def get_result_form(config: TrialConfig) -> Form:
    """Return the values that determine the result of a trial, without its seed."""
    return flatten(build_canonical_form(config.model_copy(update={"seed": 0})))


def get_full_form(config: TrialConfig) -> Form:
    """Return all values of a trial, without its seed."""
    return flatten(config.model_dump(mode="json", exclude={"seed"}))


def is_satisfied(conditions: Iterable[Condition], values: Mapping[str, Any]) -> bool:
    """Return True if the values of a configuration meet all conditions."""
    return all(path in values and values[path] == value for path, value in conditions)


def join_conditions(conditions: Iterable[Condition]) -> str:
    """Return the conditions in words."""
    return " and ".join(f"{path} is {_format_value(value)}" for path, value in conditions)


def explain_pair(first: TrialConfig, second: TrialConfig) -> str:
    """Explain, as the end of a message, why two configurations train the same model.

    Args:
        first: A configuration.
        second: A configuration with the same result form.

    Returns:
        Text that begins with a semicolon; empty if the configurations are equal.
    """
    changes = compare_values(first, second)
    if not changes:
        return ""
    names = ", ".join(changes)
    without_effect = first.trainer.without_effect
    if all(path.removeprefix("trainer.") in without_effect for path in changes):
        return f"; {names} never changes a result"
    if conditions := find_conditions(first, second):
        return f"; {names} has no effect where {join_conditions(conditions)}"
    differences = []
    for path, (one, two) in changes.items():
        differences.append(f"{path} ({_format_value(one)} or {_format_value(two)})")
    return f"; they differ only in {', '.join(differences)}, which has the same meaning here"


def compare_values(first: TrialConfig, second: TrialConfig) -> dict[str, tuple[Any, Any]]:
    """Return the values of two configurations that differ.

    Args:
        first: A configuration.
        second: Another configuration.

    Returns:
        Both values by dotted path; None where a configuration has no such field.
    """
    one, two = get_full_form(first), get_full_form(second)
    changes: dict[str, tuple[Any, Any]] = {}
    for path in dict.fromkeys([*one, *two]):
        if one.get(path) != two.get(path):
            changes[path] = (one.get(path), two.get(path))
    return changes


def find_conditions(
    first: TrialConfig,
    second: TrialConfig,
    alternatives: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> tuple[Condition, ...]:
    """Find the values because of which the difference between two configurations has no effect.

    Each value that is not the default is set to the default in both. If their results then differ,
    the value is a reason. Pairs of values are tried if no single value is a reason.

    Args:
        first: A configuration.
        second: Another one that trains the same model.
        alternatives: More values to try, by dotted path.

    Returns:
        The reasons; empty if none is found.
    """
    changed = list(compare_values(first, second))
    values = _list_candidates(first, changed, alternatives)
    switches = list(_iterate_other_choices(first)) if len(changed) == 1 else []
    for size, candidates in ((1, [*values, *switches]), (2, values)):
        found: list[Condition] = []
        for chosen in combinations(candidates, size):
            replaced = {path: other for path, _, other in chosen}
            one, two = _replace_values(first, replaced), _replace_values(second, replaced)
            if not one or not two or get_result_form(one) == get_result_form(two):
                continue
            for path, value, _ in chosen:
                condition = _build_condition(path, value)
                if condition not in found:
                    found.append(condition)
        if found:
            return tuple(found)
    return ()


def _list_candidates(
    config: TrialConfig, changed: Sequence[str], alternatives: Mapping[str, Sequence[Any]]
) -> list[tuple[str, Any, Any]]:
    """Return path, value and another value of each field that may be a reason."""
    candidates = list(_iterate_unusual_values(config))
    form = get_full_form(config)
    for path, others in alternatives.items():
        if path in form:
            candidates += [(path, form[path], other) for other in others]
    found = []
    for path, value, other in candidates:
        contains_change = any(is_at_or_below(name, (path,)) for name in changed)
        if value != other and not contains_change:
            found.append((path, value, other))
    return found


def _build_condition(path: str, value: Any) -> Condition:
    """Return the condition that a path has a value; a component is identified by its type."""
    if isinstance(value, dict) and "type" in value:
        return f"{path}.type", value["type"]
    return path, value


def _replace_values(config: TrialConfig, values: Mapping[str, Any]) -> TrialConfig | None:
    """Return the configuration with other values, or None if it is not valid."""
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


def _get_default(info: FieldInfo) -> Any:
    return None if info.is_required() else info.get_default(call_default_factory=True)


def _iterate_unusual_values(config: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield path, value and default of each field that does not have its default."""
    for name, info in type(config).model_fields.items():
        path = f"{prefix}{name}"
        value = getattr(config, name)
        default = _get_default(info)
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
    """Yield path, value and each other choice of fields with few choices and their default."""
    for name, info in type(config).model_fields.items():
        path = f"{prefix}{name}"
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from _iterate_other_choices(value, f"{path}.")
        elif name != "type" and not info.is_required() and value == _get_default(info):
            for choice in _list_choices(info):
                if choice != value:
                    yield path, value, choice


def _list_choices(info: FieldInfo) -> tuple[Any, ...]:
    if info.annotation is bool:
        return (True, False)
    return get_args(info.annotation) if get_origin(info.annotation) is Literal else ()


def _convert_to_plain(value: Any) -> Any:
    """Return a tuple as a list, like JSON."""
    return list(value) if isinstance(value, tuple) else value


def _format_value(value: Any) -> str:
    """Return a value as in YAML."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_format_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
