"""Configurations with fields of any type, read from plain data and written as plain data of one form."""

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
    """Return the model that plain data describe; a list may be a tuple or a set, and a text a path or a date.

    Raises:
        ValidationError: The data do not describe one.
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
    """Return the plain form of a value with the items of its sets in order, since a set has none of its own."""
    if isinstance(value, AnySet) and isinstance(plain, list):
        return sorted(plain, key=_sort_key)
    parts = _list_parts(value)
    if isinstance(plain, dict) and len(parts) == len(plain):
        return {
            key: sort_sets(part, inner)
            for (key, part), inner in zip(plain.items(), parts, strict=True)
        }
    if isinstance(plain, list) and len(parts) == len(plain):
        return [sort_sets(part, inner) for part, inner in zip(plain, parts, strict=True)]
    return plain


def _list_parts(value: Any) -> list[Any]:
    """Return the values inside a value, in the order of its plain form."""
    if isinstance(value, BaseModel):
        return [getattr(value, name) for name in type(value).model_fields]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _sort_key(item: Any) -> tuple[float, str]:
    """Order numbers by size, before everything else by its text."""
    number = float(item) if isinstance(item, int | float) else float("inf")
    return number, json.dumps(item, sort_keys=True)
