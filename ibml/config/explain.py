"""pydantic's errors in words: where a value was written, what is wrong, and what was probably meant."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ibml.config.base import InconsistentConfig, WrongOptions, did_you_mean
from ibml.config.load import Path_, dotted

Finding = tuple[Path_, str]

TAGS = ("type", "kind")
"""Keys that tell the members of unions apart."""
UNKNOWN_KEY = "unknown key"
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
}


def findings(error: ValidationError, model: type[BaseModel], data: Any, at: Path_ = ()) -> list[Finding]:
    """Every error as (path in the data, message); `at` is where the data stands in a larger whole."""
    found: list[Finding] = []
    errors = error.errors()
    inside = {details["loc"][:-1] for details in errors}
    for details in errors:
        if details["type"] == "too_short" and details["loc"] in inside:
            continue  # its items are what is wrong with it
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, InconsistentConfig):
            place = (*at, *path_in_data((*details["loc"], ""), data)[:-1])
            inside_it = [((*place, *path), message) for path, message in cause.findings]
            found += [(path, f"{dotted(path)}: {message}") for path, message in inside_it]
        elif isinstance(cause, WrongOptions):
            place = (*at, *path_in_data(details["loc"], data))
            found += findings(cause.error, cause.model, cause.options, place)
        else:
            path = (*at, *path_in_data(details["loc"], data))
            found.append((path, _message(details, path, model)))
    return found


def path_in_data(location: Path_, data: Any) -> Path_:
    """pydantic's location without the tags of unions, which are no keys of the data."""
    path: list[str | int] = []
    node = data
    for position, step in enumerate(location):
        if str(step).startswith("("):
            continue  # the tag of a union whose members are told apart by their keys
        last = position == len(location) - 1
        if last and isinstance(node, Mapping) and step not in node and step in [node.get(tag) for tag in TAGS]:
            continue  # what is wrong with a member of a union as a whole
        if isinstance(node, Mapping) and (step in node or last):
            node = node.get(step)
        elif isinstance(node, (list, tuple)) and isinstance(step, int) and step < len(node):
            node = node[step]
        elif isinstance(node, Mapping) or not last or not isinstance(step, int):
            continue
        path.append(step)
    return tuple(path)


def _message(details: ErrorDetails, path: Path_, model: type[BaseModel]) -> str:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    name = dotted(path)
    if kind == "extra_forbidden":
        known = _fields_at(model, details["loc"][:-1])
        prefix = dotted(path[:-1])
        choices = [f"{prefix}.{field}" if prefix else field for field in known]
        return f"{UNKNOWN_KEY} {name!r}{did_you_mean(name, choices)}"
    if kind == "missing":
        return f"{name!r} is missing"
    if kind in ("literal_error", "union_tag_invalid"):
        expected = context.get("expected") or context.get("expected_tags", "")
        tag = context.get("tag", value)
        field = name if kind == "literal_error" else f"{name}.{_tag(context)}"
        choices = re.findall(r"'([^']*)'", expected)
        return f"{field}: {_shown(tag)} is not known{did_you_mean(str(tag), choices)}"
    if kind == "union_tag_not_found":
        return f"'{name}.{_tag(context)}' is missing{did_you_mean('', _types_at(model, details['loc']))}"
    if kind in ("model_attributes_type", "model_type", "dict_type"):
        return f"{name}: expected a mapping of keys to values, got {_shown(value)}"
    if kind == "string_pattern_mismatch":
        return f"{name}: {_shown(value)} is no name; use letters, digits, '-' and '_'"
    if kind == "too_short":
        return f"{name}: is too short, it needs at least {context['min_length']}"
    if kind in _EXPECTED:
        return f"{name}: expected {_EXPECTED[kind]}, got {_shown(value)}"
    if kind == "value_error":
        return f"{name}: {context['error']}"
    return f"{name}: {details['msg'].removeprefix('Input ')}, got {_shown(value)}"


def _tag(context: Mapping[str, Any]) -> str:
    """The key that tells the members of a union apart."""
    return str(context["discriminator"]).strip("'")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields_at(model: type[BaseModel], location: Path_) -> list[str]:
    """The keys that a place of the configuration may have."""
    place = _annotation_at(model, location)
    return list(place.model_fields) if isinstance(place, type) and issubclass(place, BaseModel) else []


def _types_at(model: type[BaseModel], location: Path_) -> list[str]:
    """The `type`s that a component may have."""
    return list(_members(_annotation_at(model, location)))


def _annotation_at(model: type[BaseModel], location: Path_) -> Any:
    place: Any = model
    for step in location:
        place = _bare(place)
        members = _members(place)
        if step in members:
            place = members[str(step)]
        elif isinstance(place, type) and issubclass(place, BaseModel):
            field = place.model_fields.get(str(step))
            place = field.annotation if field else None
        else:
            place = get_args(place)[-1] if get_args(place) else None
    return _bare(place)


def _bare(annotation: Any) -> Any:
    """An annotation without `Annotated` and `| None`."""
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


def _members(annotation: Any) -> dict[str, Any]:
    """The members of a discriminated union by their `type`."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return {}
    members: dict[str, Any] = {}
    for option in map(_bare, get_args(annotation)):
        tag = _tag_annotation(option)
        if get_origin(tag) is Literal:
            members[get_args(tag)[0]] = option
    return members


def _tag_annotation(option: Any) -> Any:
    fields = option.model_fields if isinstance(option, type) and issubclass(option, BaseModel) else {}
    return next((fields[name].annotation for name in TAGS if name in fields), None)
