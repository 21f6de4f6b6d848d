"""Suggestions for unknown keys: a similar key, or the same key elsewhere in the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from ibml.common.errors import find_same_last_part, format_suggestion, get_last_part
from ibml.common.yaml.documents import KeyPath, format_path
from ibml.config.loading.annotations import (
    Types,
    collect_key_paths,
    find_annotation,
    list_field_names,
)
from ibml.config.search.foreign_formats import translate_key

_MAX_NAMED = 3
_SIMILAR = 0.7
"""Smallest similarity of the last parts of two paths that are siblings."""
_SIMILAR_ELSEWHERE = 0.8
"""Smallest similarity of the last parts of two other paths."""


def suggest_key(
    path: KeyPath, value: Any, model: type[BaseModel], location: KeyPath, data: Any
) -> str:
    """Format a suggestion for an unknown key, to be appended to an error message.

    Args:
        path: Path of the key in the data.
        value: Value of the key.
        model: The class of the whole configuration.
        location: pydantic's location of the key, which also contains the tags of unions.
        data: The data of the whole configuration, which contain the types of its components.

    Returns:
        Text that begins with `;`; empty without a suggestion.
    """
    from ibml.config.trial import TrialConfig

    name = format_path(path)
    prefix = format_path(path[:-1])
    siblings = list_field_names(find_annotation(model, location[:-1]))
    if prefix:
        siblings = [f"{prefix}.{field}" for field in siblings]
    near = _find_similar(name, siblings, _SIMILAR)
    found: list[str] = []
    if model is TrialConfig:
        known = collect_key_paths(model).get(_map_to_default_encoder(name))
        if known is not None and _find_type(prefix, data) != "plugin":
            return f"; it exists where {_format_types(known, prefix, data)}"
        found = _suggest_in_trial(name, value, near, data)
    elif "overrides" in model.model_fields:
        found = _suggest_in_file(path, value, near, model)
    return _format_paths(found) or format_suggestion(name, siblings)


def _suggest_in_trial(name: str, value: Any, near: list[str], data: Any) -> list[str]:
    """Return suggestions for a key of a trial; `near` are similar siblings of the key."""
    from ibml.config.trial import TrialConfig

    paths = collect_key_paths(TrialConfig)
    component, _, key = name.rpartition(".")
    if not near and _find_type(component, data) == "plugin":
        return [f"{component}.options.{key}"]
    leaf = name if near else _follow_single_keys(name, value)
    same = _filter_active(find_same_last_part(leaf, paths), paths, data)
    if same or near:
        return same or near
    return _filter_active(_find_similar(leaf, paths, _SIMILAR_ELSEWHERE), paths, data)


def _suggest_in_file(
    path: KeyPath, value: Any, near: list[str], model: type[BaseModel]
) -> list[str]:
    """Return suggestions for a key of the file of a study or a search."""
    if "parameters" in model.model_fields and (foreign := translate_key(path, value)):
        return [format_path((*path[:-1], foreign))]
    name = format_path(path)
    return (
        near
        or find_same_last_part(name, collect_key_paths(model))[:1]
        or _suggest_below_overrides(name)
    )


def suggest_setting(path: Sequence[str], value: Any, models: Iterable[type[BaseModel]]) -> str:
    """Format a suggestion for a path of the command line that begins with an unknown section.

    Args:
        path: The path.
        value: Its value.
        models: Configuration classes whose fields are the sections.

    Returns:
        Text that begins with `;`; empty without a suggestion.
    """
    name = _follow_single_keys(".".join(path), value)
    sections: list[str] = []
    paths: list[str] = []
    for model in models:
        sections += model.model_fields
        paths += collect_key_paths(model)
    first = _find_similar(path[0], sections, _SIMILAR)
    corrected = [".".join([section, *path[1:]]) for section in first]
    found = [known for known in corrected if known in paths]
    if not found:
        found = find_same_last_part(name, paths)[:1]
    if not found:
        found = first or _find_similar(name, paths, _SIMILAR_ELSEWHERE)
    return _format_paths(found) or format_suggestion(name, sections)


def _suggest_below_overrides(name: str) -> list[str]:
    """Return the path of a trial's key in the file of a study or a search."""
    from ibml.config.trial import TrialConfig

    paths = collect_key_paths(TrialConfig)
    found = [name] if name in paths else _filter_active(find_same_last_part(name, paths), paths, {})
    return [f"overrides.{path}" for path in found[:1]]


def _find_similar(name: str, choices: Iterable[str], cutoff: float) -> list[str]:
    """Return the paths whose last part is most similar to that of `name`."""
    by_last: dict[str, list[str]] = {}
    for choice in choices:
        by_last.setdefault(get_last_part(choice).casefold(), []).append(choice)
    close = get_close_matches(get_last_part(name).casefold(), by_last, n=1, cutoff=cutoff)
    return by_last[close[0]] if close else []


def _filter_active(
    found: list[str], paths: Mapping[str, tuple[Types, ...]], data: Any
) -> list[str]:
    """Return the paths that exist under the types in the data, or all of them if none does."""
    active = []
    for path in found:
        if any(_is_active(types, data) for types in paths[path]):
            active.append(path)
    return active or found


def _is_active(types: Types, data: Any) -> bool:
    return all(_find_type(component, data) == wanted for component, wanted in types.items())


def _find_type(component: str, data: Any) -> str | None:
    """Return the type of a component in the data of a trial, or its default type."""
    from ibml.config.encoders import DEFAULT_ENCODER_TYPE
    from ibml.config.trial import TrialConfig

    node = data
    for step in component.split("."):
        node = node.get(step) if isinstance(node, Mapping) else None
    if isinstance(node, Mapping) and "type" in node:
        return str(node["type"])
    field = TrialConfig.model_fields.get(component)
    return getattr(field.default, "type", None) if field else DEFAULT_ENCODER_TYPE


def _map_to_default_encoder(path: str) -> str:
    """Replace the modality in the path of an encoder's key by `default`."""
    steps = path.split(".")
    if steps[0] != "encoders":
        return path
    return ".".join(["encoders", "default", *steps[2:]])


def _format_types(known: Iterable[Types], prefix: str, data: Any) -> str:
    """Name the types of components under which a path exists: `fusion.type is film or gated`."""
    wanted: dict[str, list[str]] = {}
    for types in known:
        for component, name in types.items():
            own = prefix if component.startswith("encoders.") else component
            if _find_type(own, data) != name and name not in wanted.setdefault(own, []):
                wanted[own].append(name)
    parts = []
    for component, names in wanted.items():
        if names:
            parts.append(f"{component}.type is {' or '.join(names)}")
    return " and ".join(parts)


def _follow_single_keys(name: str, value: Any) -> str:
    """Follow mappings of one key down to their value: `hyper` with `{lr: 1}` is `hyper.lr`."""
    while isinstance(value, Mapping) and len(value) == 1:
        key, value = next(iter(value.items()))
        name = f"{name}.{key}"
    return name


def _format_paths(found: Sequence[str]) -> str:
    if not found:
        return ""
    return f"; did you mean {' or '.join(map(repr, found[:_MAX_NAMED]))}?"
