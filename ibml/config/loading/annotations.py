"""Introspection of configuration classes: annotations at a path, and all dotted paths."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag

from ibml.common.yaml.documents import KeyPath

TAGS = ("type", "kind")
"""Keys that discriminate the members of unions."""
Types = Mapping[str, str]
"""Types under which a path exists: dotted path of a component -> its `type`."""


def list_field_names(annotation: Any) -> list[str]:
    """Return the field names of a configuration class or dataclass; empty for other annotations."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(annotation.model_fields)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return [field.name for field in dataclasses.fields(annotation)]
    return []


def find_annotation(model: type[BaseModel], location: KeyPath) -> Any:
    """Return the annotation at a pydantic location.

    Args:
        model: The class of the whole configuration.
        location: Location of an error, which also contains the tags of unions.

    Returns:
        The annotation without `Annotated` and `| None`; None if there is no such place.
    """
    place: Any = model
    for step in location:
        place = step_into(place, step)
    return unwrap_annotation(place)


def step_into(annotation: Any, step: str | int) -> Any:
    """Return the annotation one step below another.

    Args:
        annotation: Annotation of a union, configuration, mapping or sequence.
        step: Tag of a union member, name of a field, key or index.

    Returns:
        Annotation of the member, field, value or item; None if there is no such step.
    """
    place = unwrap_annotation(annotation)
    union = get_union_members(place)
    if step in union:
        return union[str(step)]
    if isinstance(place, type) and issubclass(place, BaseModel):
        field = place.model_fields.get(str(step))
        return field.annotation if field else None
    arguments = [argument for argument in get_args(place) if argument is not Ellipsis]
    return arguments[-1] if arguments else None


def unwrap_annotation(annotation: Any) -> Any:
    """Remove `Annotated` and `| None` from an annotation."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            options = [option for option in get_args(annotation) if option is not type(None)]
            if len(options) > 1:
                return annotation
            annotation = options[0]
        else:
            return annotation


def get_union_members(annotation: Any) -> dict[str, Any]:
    """Return the members of a discriminated union.

    Args:
        annotation: Any annotation.

    Returns:
        `type`, `kind` or pydantic `Tag` -> member; empty for other annotations.
    """
    found: dict[str, Any] = {}
    for given in _get_union_options(annotation):
        tags = [note.tag for note in getattr(given, "__metadata__", ()) if isinstance(note, Tag)]
        option = unwrap_annotation(given)
        literal = _find_tag_annotation(option)
        if tags:
            found[tags[0]] = option
        elif get_origin(literal) is Literal:
            found[get_args(literal)[0]] = option
        else:
            found |= get_union_members(option)
    return found


def _get_union_options(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()


def _find_tag_annotation(option: Any) -> Any:
    if not (isinstance(option, type) and issubclass(option, BaseModel)):
        return None
    for name in TAGS:
        if name in option.model_fields:
            return option.model_fields[name].annotation
    return None


@cache
def collect_key_paths(model: type[BaseModel]) -> Mapping[str, tuple[Types, ...]]:
    """Collect the dotted paths of a configuration for all types of its components.

    Args:
        model: The class of the configuration.

    Returns:
        Dotted path -> combinations of types under which it exists. Paths of encoders are those of
        `encoders.default`.
    """
    found: dict[str, list[Types]] = {}
    _collect(model, "", {}, found)
    return {path: tuple(types) for path, types in found.items()}


def _collect(annotation: Any, prefix: str, types: Types, found: dict[str, list[Types]]) -> None:
    place = unwrap_annotation(annotation)
    union = get_union_members(place)
    for tag, member in union.items():
        is_type = not tag.startswith("(")
        _collect(member, prefix, {**types, prefix: tag} if is_type else types, found)
    if isinstance(place, type) and issubclass(place, BaseModel):
        for name, field in place.model_fields.items():
            path = f"{prefix}.{name}" if prefix else name
            found.setdefault(path, []).append(types)
            _collect(field.annotation, path, types, found)
    elif get_origin(place) is dict and get_union_members(unwrap_annotation(get_args(place)[1])):
        _collect(get_args(place)[1], f"{prefix}.default", types, found)
    elif not union:
        for option in _get_union_options(place):
            _collect(option, prefix, types, found)
