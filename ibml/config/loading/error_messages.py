"""Conversion of pydantic errors to messages with the path, the problem and a suggestion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ibml.common.errors import format_suggestion
from ibml.common.yaml.documents import KeyPath, format_path
from ibml.config.base import NULL_NAME, InconsistentConfig, WrongOptions
from ibml.config.loading.annotations import (
    TAGS,
    find_annotation,
    get_union_members,
    step_into,
    unwrap_annotation,
)
from ibml.config.loading.suggestions import suggest_key

LocatedError = tuple[KeyPath, str]
"""Path in the data, and message."""

UNKNOWN_KEY = "unknown key"
_MAPPING = "a mapping of keys to values"
_EXPECTED = {
    **dict.fromkeys(("int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "decimal_type", "decimal_parsing"), "a number"),
    "finite_number": "a finite number",
    "bool_type": "true or false",
    **dict.fromkeys(("string_type", "bytes_type", NULL_NAME), "text"),
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "a list"),
    **dict.fromkeys(
        ("model_attributes_type", "model_type", "dict_type", "dataclass_type", "mapping_type"),
        _MAPPING,
    ),
    "path_type": "a path",
    **dict.fromkeys(
        ("date_type", "date_parsing", "date_from_datetime_parsing"), "a date such as 2024-01-31"
    ),
    **dict.fromkeys(
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing"),
        "a time such as 2024-01-31T12:00",
    ),
}
_UNKNOWN_KEYS = ("extra_forbidden", "unexpected_keyword_argument")
_LIMITS = {
    "too_short": "is too short, it needs at least {min_length}",
    "too_long": "is too long, it has at most {max_length}",
    "string_too_short": "has fewer than {min_length} characters",
    "string_too_long": "has more than {max_length} characters",
}


def describe_errors(
    error: ValidationError, model: type[BaseModel], data: Any, at: KeyPath = ()
) -> list[LocatedError]:
    """Describe every error of a model with its path in the data.

    Args:
        error: The error.
        model: The class of the configuration.
        data: The data as the model received them.
        at: Path of the data in a larger document.

    Returns:
        Path and message of each error.
    """
    found: list[LocatedError] = []
    errors = error.errors()
    inside = {details["loc"][:-1] for details in errors}
    for details in errors:
        if details["type"] == "too_short" and details["loc"] in inside:
            continue  # its items have errors, which explain the missing items
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, InconsistentConfig):
            place = (*at, *locate_in_data((*details["loc"], ""), data, model)[:-1])
            for below, message in cause.errors:
                path = (*place, *below)
                found.append((path, f"{format_path(path)}: {message}"))
        elif isinstance(cause, WrongOptions):
            place = (*at, *locate_in_data(details["loc"], data, model))
            found += describe_errors(cause.error, cause.model, cause.options, place)
        else:
            path = (*at, *locate_in_data(details["loc"], data, model))
            found.append((path, _format_message(details, path, model, data)))
    return found


def locate_in_data(location: KeyPath, data: Any, model: type[BaseModel]) -> KeyPath:
    """Convert a pydantic location to a path in the data.

    Locations also contain the tags of unions, which are not keys of the data.

    Args:
        location: Location of an error.
        data: The data as the model received them.
        model: The class of the configuration.

    Returns:
        The path.
    """
    path: list[str | int] = []
    node: Any = data
    annotation: Any = model
    for position, step in enumerate(location):
        if str(step).startswith("(") or step == "[key]":
            continue  # tag of a union that is discriminated by keys, or an error of the key itself
        # Test the annotation, not the data, which may have a key with the name of the tag.
        is_tag = step in get_union_members(unwrap_annotation(annotation))
        annotation = step_into(annotation, step)
        if is_tag:
            continue
        last = position == len(location) - 1
        is_mapping = isinstance(node, Mapping)
        if last and is_mapping and step not in node and step in [node.get(tag) for tag in TAGS]:
            continue  # error of a member of a union as a whole
        if is_mapping and (step in node or last):
            node = node.get(step)
        elif isinstance(node, (list, tuple)) and isinstance(step, int) and step < len(node):
            node = node[step]
        elif is_mapping or not last or not isinstance(step, int):
            continue
        path.append(step)
    return tuple(path)


def _format_message(details: ErrorDetails, path: KeyPath, model: type[BaseModel], data: Any) -> str:
    kind = details["type"]
    context = details.get("ctx", {})
    value = details["input"]
    name = format_path(path)
    if kind in _UNKNOWN_KEYS:
        return f"{UNKNOWN_KEY} {name!r}{suggest_key(path, value, model, details['loc'], data)}"
    if kind == "missing":
        return f"{name!r} is missing"
    if kind == "union_tag_not_found":
        types = get_union_members(find_annotation(model, details["loc"]))
        return f"'{name}.{_get_tag_key(context)}' is missing{format_suggestion('', types)}"
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        return _format_unknown_choice(name, kind, context, value)
    return f"{name}: {_format_wrong_value(details, context, value)}"


def _format_unknown_choice(name: str, kind: str, context: Mapping[str, Any], value: Any) -> str:
    """Format the message about a value that is not in a list of choices."""
    expected = context.get("expected") or context.get("expected_tags", "")
    tag = context.get("tag", value)
    field = f"{name}.{_get_tag_key(context)}" if kind == "union_tag_invalid" else name
    quoted = re.findall(r"'([^']*)'", expected)
    if quoted:
        hint = format_suggestion(str(tag), quoted)
    else:
        hint = f"; known: {expected.replace(' or ', ', ')}"
    return f"{field}: {_format_value(tag)} is not known{hint}"


def _format_wrong_value(details: ErrorDetails, context: Mapping[str, Any], value: Any) -> str:
    """Format the problem with a value, without the name of its field."""
    kind = details["type"]
    cause = context.get("error")
    if kind == "string_pattern_mismatch":
        return f"{_format_value(value)} is not a valid name; use letters, digits, '-' and '_'"
    if kind in _LIMITS:
        return _LIMITS[kind].format_map(context)
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {_format_value(value)}"
    if isinstance(cause, ValidationError):
        return format_validation_error(cause)
    if cause is not None:
        return str(cause) or f"{_format_value(value)} is refused"
    return f"{strip_pydantic_prefix(details['msg'])}, got {_format_value(value)}"


def strip_pydantic_prefix(message: str) -> str:
    """Remove the prefixes that pydantic adds to messages, for example `Value error, `."""
    for words in ("Value error, ", "Assertion failed, ", "Input "):
        message = message.removeprefix(words)
    return message


def format_validation_error(error: ValidationError) -> str:
    """Format a pydantic error as a single line, for errors without a document.

    Args:
        error: The error.

    Returns:
        Location and message of each error, separated by semicolons.
    """
    parts = []
    for details in error.errors():
        place = format_path(details["loc"])
        context = details.get("ctx", {})
        message = _format_wrong_value(details, context, details["input"])
        parts.append(f"{place}: {message}" if place else message)
    return "; ".join(parts)


def _get_tag_key(context: Mapping[str, Any]) -> str:
    """Return the key that discriminates the members of a union."""
    return str(context["discriminator"]).strip("'")


def _format_value(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
