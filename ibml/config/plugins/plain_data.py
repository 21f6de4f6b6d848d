"""Conversion between plain data and configurations with fields of any type."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from collections.abc import Set as AnySet
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

M = TypeVar("M", bound=BaseModel)


def read_plain(model: type[M], data: Mapping[str, Any]) -> M:
    """Validate plain data, with the conversions that pydantic applies to JSON.

    For example, a list may become a tuple or a set, and a text a path or a date.

    Args:
        model: The class of the configuration.
        data: Plain data.

    Returns:
        The configuration.

    Raises:
        ValidationError: The data are not valid.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        try:
            text = to_json(dict(data), inf_nan_mode="constants")
        except PydanticSerializationError:
            raise error from None
    return model.model_validate_json(text)


def sort_sets(plain: Any, value: Any) -> Any:
    """Sort the items of sets in plain data, so that equal values have equal plain data.

    Args:
        plain: Plain data of the value.
        value: The value, which tells sets from lists.

    Returns:
        The plain data with sorted sets.
    """
    if isinstance(value, AnySet) and isinstance(plain, list):
        return sorted(plain, key=_get_sort_key)
    parts = _list_parts(value)
    if not isinstance(plain, dict | list) or len(parts) != len(plain):
        return plain
    if isinstance(plain, dict):
        items = zip(plain.items(), parts, strict=True)
        return {key: sort_sets(part, inner) for (key, part), inner in items}
    return [sort_sets(part, inner) for part, inner in zip(plain, parts, strict=True)]


def _list_parts(value: Any) -> list[Any]:
    """Return the values inside a value, in the order of its plain data."""
    if isinstance(value, BaseModel):
        return [getattr(value, name) for name in type(value).model_fields]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _get_sort_key(item: Any) -> tuple[float, str]:
    """Return a key that sorts numbers by size, before all other items by their text."""
    number = float(item) if isinstance(item, int | float) else float("inf")
    return number, json.dumps(item, sort_keys=True)
