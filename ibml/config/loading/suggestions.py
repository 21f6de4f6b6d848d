"""What was probably meant by an unknown key: a key spelled alike, or the same key elsewhere in the configuration."""

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
_SIMILAR, _SIMILAR_ELSEWHERE = 0.7, 0.8
"""How similar the last parts of two paths must be: a neighbour's, or one elsewhere in the configuration."""


def suggest_key(
    path: KeyPath, value: Any, model: type[BaseModel], location: KeyPath, data: Any
) -> str:
    """Return the end of a message about an unknown key.

    Args:
        path: The key's path in the data.
        value: The value that was given for the key.
        model: The class of the whole configuration.
        location: pydantic's location of the key, which also has the tags of unions.
        data: The data of the whole configuration, which says the types of its components.
    """
    from ibml.config.trial import TrialConfig

    name, prefix = format_path(path), format_path(path[:-1])
    siblings = [
        f"{prefix}.{field}" if prefix else field
        for field in list_field_names(find_annotation(model, location[:-1]))
    ]
    near = _find_similar(name, siblings, _SIMILAR)
    found: list[str] = []
    if model is TrialConfig:
        usual = _map_to_default_encoder(name)
        if usual in collect_key_paths(model) and _find_type(prefix, data) != "plugin":
            return (
                f"; it exists where {_format_types(collect_key_paths(model)[usual], prefix, data)}"
            )
        found = _suggest_in_trial(name, value, near, data)
    elif "overrides" in model.model_fields:
        found = _suggest_in_file(path, value, near, model)
    return _format_paths(found) or format_suggestion(name, siblings)


def _suggest_in_trial(name: str, value: Any, near: list[str], data: Any) -> list[str]:
    """Return the keys of a trial that may be meant; `near` are neighbours of the key that are spelled alike."""
    from ibml.config.trial import TrialConfig

    paths = collect_key_paths(TrialConfig)
    component, _, key = name.rpartition(".")
    if not near and _find_type(component, data) == "plugin":
        return [f"{component}.options.{key}"]
    leaf = name if near else _follow_single_keys(name, value)
    same = _filter_active(find_same_last_part(leaf, paths), paths, data)
    return (
        same or near or _filter_active(_find_similar(leaf, paths, _SIMILAR_ELSEWHERE), paths, data)
    )


def _suggest_in_file(
    path: KeyPath, value: Any, near: list[str], model: type[BaseModel]
) -> list[str]:
    """Return the keys of the file of a study or a search that may be meant."""
    if "parameters" in model.model_fields and (foreign := translate_key(path, value)):
        return [format_path((*path[:-1], foreign))]
    name = format_path(path)
    return (
        near
        or find_same_last_part(name, collect_key_paths(model))[:1]
        or _suggest_below_overrides(name)
    )


def suggest_setting(path: Sequence[str], value: Any, models: Iterable[type[BaseModel]]) -> str:
    """Return the end of a message about a path of the command line that begins with no section of these classes."""
    name = _follow_single_keys(".".join(path), value)
    sections = [section for model in models for section in model.model_fields]
    paths = [known for model in models for known in collect_key_paths(model)]
    first = _find_similar(path[0], sections, _SIMILAR)
    exact = [".".join([section, *path[1:]]) for section in first]
    found = (
        [known for known in exact if known in paths]
        or find_same_last_part(name, paths)[:1]
        or first
    )
    return _format_paths(
        found or _find_similar(name, paths, _SIMILAR_ELSEWHERE)
    ) or format_suggestion(name, sections)


def _suggest_below_overrides(name: str) -> list[str]:
    """Return where a key of a trial belongs in the file of a study or a search."""
    from ibml.config.trial import TrialConfig

    paths = collect_key_paths(TrialConfig)
    found = [name] if name in paths else _filter_active(find_same_last_part(name, paths), paths, {})
    return [f"overrides.{path}" for path in found[:1]]


def _find_similar(name: str, choices: Iterable[str], cutoff: float) -> list[str]:
    """Return the paths with the last part that is most similar to that of a path."""
    by_last: dict[str, list[str]] = {}
    for choice in choices:
        by_last.setdefault(get_last_part(choice).casefold(), []).append(choice)
    close = get_close_matches(get_last_part(name).casefold(), by_last, n=1, cutoff=cutoff)
    return [path for last in close for path in by_last[last]]


def _filter_active(
    found: list[str], paths: Mapping[str, tuple[Types, ...]], data: Any
) -> list[str]:
    """Return the paths that exist under the types that the data has, or all of them where none does."""
    return [
        path for path in found if any(_is_active(types, data) for types in paths[path])
    ] or found


def _is_active(types: Types, data: Any) -> bool:
    return all(_find_type(component, data) == wanted for component, wanted in types.items())


def _find_type(component: str, data: Any) -> str | None:
    """Return the type of a component in the data of a trial, or its usual type."""
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
    """Return the path of the default encoder's key that corresponds to a key of any encoder."""
    steps = path.split(".")
    return ".".join(["encoders", "default", *steps[2:]]) if steps[0] == "encoders" else path


def _format_types(known: Iterable[Types], prefix: str, data: Any) -> str:
    """Name the types of components under which a path exists: `fusion.type is film or gated`."""
    wanted: dict[str, list[str]] = {}
    for types in known:
        for component, name in types.items():
            own = prefix if component.startswith("encoders.") else component
            if _find_type(own, data) != name and name not in wanted.setdefault(own, []):
                wanted[own].append(name)
    return " and ".join(
        f"{component}.type is {' or '.join(names)}" for component, names in wanted.items() if names
    )


def _follow_single_keys(name: str, value: Any) -> str:
    """Follow mappings of one key down to their value: `hyper` with `{lr: 1}` is `hyper.lr`."""
    while isinstance(value, Mapping) and len(value) == 1:
        key, value = next(iter(value.items()))
        name = f"{name}.{key}"
    return name


def _format_paths(found: Sequence[str]) -> str:
    return (
        f"; did you mean {' or '.join(repr(path) for path in found[:_MAX_NAMED])}?" if found else ""
    )
