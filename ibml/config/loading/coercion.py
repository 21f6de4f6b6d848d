"""Values that a file means otherwise than YAML reads them: names that look like numbers, mappings left empty."""

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
    """Return the data with the values that were refused for their type and mean something else, or None without any.

    A number or truth value where text is expected is the text as written; null is one where a name is expected.
    A mapping that is left empty is an empty mapping.

    Args:
        error: What the model refuses.
        model: The class of the configuration.
        data: The data, which stay as they are.
        written: The text of scalars by their paths; see `ibml.common.yaml.documents.Document`.
        any_null: Whether a written null is an empty mapping too, and not only a key with nothing behind it.
    """
    changes: dict[KeyPath, Any] = {}
    for path, kind, value in _find_refused_values(error, model, data):
        text = written.get(path)
        if kind in _EXPECTS_TEXT and (
            meant := get_name_text(value, text if kind == NULL_NAME or value is not None else "")
        ):
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
    """Return the text that a scalar stands for where a name is expected; empty for what is not a name."""
    if isinstance(value, bool | int | float):
        return written or format_scalar(value)
    return written or "" if value is None else ""


def _find_refused_values(
    error: ValidationError, model: type[BaseModel], data: Any, at: KeyPath = ()
) -> Iterator[tuple[KeyPath, str, Any]]:
    """Yield path, type of error and value of everything refused that is in the data at its path."""
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
