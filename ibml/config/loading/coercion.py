"""Conversion of values that YAML reads with an unintended type.

Examples are names that look like numbers, and mappings without entries, which YAML reads as null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ValidationError

from ibml.common.yaml.documents import KeyPath
from ibml.config.base import NULL_NAME, WrongOptions, format_scalar
from ibml.config.loading.error_messages import locate_in_data

_EXPECTS_TEXT = ("string_type", NULL_NAME)
_EXPECTS_MAPPING = ("dict_type", "model_type", "model_attributes_type", "dataclass_type")


def convert_refused_values(
    error: ValidationError,
    model: type[BaseModel],
    data: dict[str, Any],
    written: Mapping[KeyPath, str],
    any_null: bool = False,
) -> dict[str, Any] | None:
    """Convert the values that a model rejects because of their type.

    In place of text, a number or truth value becomes its source text. In place of a name, so does
    null. In place of a mapping, a key without value becomes an empty mapping.

    Args:
        error: The error of the model.
        model: The class of the configuration.
        data: The data, which are not changed.
        written: Path -> source text of a scalar; see `ibml.common.yaml.documents.Document`.
        any_null: Convert an explicit null to an empty mapping too.

    Returns:
        A copy of the data with conversions; None if nothing can be converted.
    """
    changes: dict[KeyPath, Any] = {}
    for path, kind, value in _find_refused_values(error, model, data):
        text = written.get(path)
        if kind in _EXPECTS_TEXT:
            is_plain_null = value is None and kind != NULL_NAME
            meant = "" if is_plain_null else get_name_text(value, text)
            if meant:
                changes[path] = meant
        elif kind in _EXPECTS_MAPPING and value is None and (any_null or text == ""):
            changes.setdefault(path, {})
    if not changes:
        return None
    result = deepcopy(data)
    for (*parents, last), meant in changes.items():
        node: Any = result
        for step in parents:
            node = node[step]
        node[last] = meant
    return result


def get_name_text(value: Any, written: str | None) -> str:
    """Return the name that a scalar stands for.

    Args:
        value: The value as YAML reads it.
        written: Its source text, if known.

    Returns:
        The name; empty if the value cannot be a name.
    """
    if isinstance(value, bool | int | float):
        return written or format_scalar(value)
    if value is None:
        return written or ""
    return ""


def _find_refused_values(
    error: ValidationError, model: type[BaseModel], data: Any, at: KeyPath = ()
) -> Iterator[tuple[KeyPath, str, Any]]:
    """Yield path, error type and value of each rejected value that the data contain at its path."""
    for details in error.errors():
        path = locate_in_data(details["loc"], data, model)
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, WrongOptions):
            yield from _find_refused_values(cause.error, cause.model, cause.options, (*at, *path))
        elif path and _is_same(_get_value(data, path), details["input"]):
            yield (*at, *path), details["type"], details["input"]


def _is_same(value: Any, other: Any) -> bool:
    return value is other or (type(value) is type(other) and bool(value == other))


def _get_value(data: Any, path: KeyPath) -> Any:
    node = data
    for step in path:
        try:
            node = node[step]
        except (LookupError, TypeError):
            return ...
    return node
