"""A configuration put together from layers (preset, overrides, arm), each value with its source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ibml.common.errors import ConfigError, Problem, SourceLocation, format_suggestion
from ibml.common.yaml import documents
from ibml.common.yaml.documents import Document, KeyPath
from ibml.config.encoders import DEFAULT_ENCODER_TYPE
from ibml.config.loading.file_kinds import TRIAL, describe_other_kind
from ibml.config.loading.presets import find_presets
from ibml.config.trial import TrialConfig

_PATHS = {"data": ("root", "vectors", "tokenizer"), "encoders": ("weights", "path")}
"""Keys, by the part of the configuration, whose values are paths."""
MAX_DEPTH = 20

Steps = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One value of a layer: the path in the trial's configuration, the value, and where it was written."""

    path: Steps
    value: Any
    source: SourceLocation
    written: Mapping[KeyPath, str] = field(default_factory=dict)
    """The texts of the scalars in the value, by their paths in it; see `Document.written`."""

    @property
    def is_left_empty(self) -> bool:
        """Whether a key has nothing behind it, which changes no mapping."""
        return self.value is None and self.written.get(()) == ""


class Layers:
    """Merged layers. Mappings merge and everything else replaces; a component whose `type` changes
    starts from its defaults, since the keys of its old type mean nothing to the new one, and so do the `options` of a
    plug-in whose `target` changes."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.sources: dict[Steps, SourceLocation] = {}
        self.written: dict[KeyPath, str] = {}

    def copy(self) -> Layers:
        twin = Layers()
        twin.data, twin.sources, twin.written = (
            deepcopy(self.data),
            dict(self.sources),
            dict(self.written),
        )
        return twin

    def add(self, settings: list[Setting]) -> list[Problem]:
        """Put a layer on top; returns what could not be put (a path through something that is a value)."""
        problems = []
        given: dict[Steps, SourceLocation] = {}
        for setting in sorted(settings, key=_get_precedence):
            if len(setting.path) > MAX_DEPTH:
                problems.append(
                    Problem(setting.source, f"a path of {len(setting.path)} parts names nothing")
                )
                continue
            if setting.path in given:
                problems.append(
                    Problem(setting.source, f"{'.'.join(setting.path)!r} is given twice")
                )
                continue
            given[setting.path] = setting.source
            problems += self._put(setting)
        return problems

    def _put(self, setting: Setting) -> list[Problem]:
        *parents, last = setting.path
        node = self.data
        for depth, step in enumerate(parents):
            if node.get(step) is None and self.written.get(setting.path[: depth + 1]) == "":
                node[step] = {}  # a lower layer has left the mapping empty
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                name = ".".join(setting.path[: depth + 1])
                return [
                    Problem(
                        setting.source, f"{name!r} is a value and has no {'.'.join(setting.path)!r}"
                    )
                ]
        if last == "type" and node.get("type", _find_default_type(parents)) not in (
            setting.value,
            None,
        ):
            node.clear()
            self._remove_below(tuple(parents))
        if (
            last == "target"
            and node.get("type") == "plugin"
            and node.get("target", setting.value) != setting.value
        ):
            node.pop("options", None)
            self._remove_below((*parents, "options"))
        if (setting.value == {} or setting.is_left_empty) and isinstance(node.get(last), dict):
            return []  # an empty mapping merges like any other
        self._remove_below(setting.path)
        node[last] = deepcopy(setting.value)
        self.sources[setting.path] = setting.source
        self.written |= {(*setting.path, *inner): text for inner, text in setting.written.items()}
        return []

    def _remove_below(self, below: Steps) -> None:
        for path in [p for p in self.sources if p[: len(below)] == below]:
            del self.sources[path]
        for place in [p for p in self.written if p[: len(below)] == below]:
            del self.written[place]

    def source(self, path: Steps, fallback: SourceLocation) -> SourceLocation:
        """Where the value at a path came from: its own source, or that of its nearest relative written last."""
        for size in range(len(path), 0, -1):
            prefix = path[:size]
            if prefix in self.sources:
                return self.sources[prefix]
            for known, source in reversed(self.sources.items()):
                if known[:size] == prefix:
                    return source
        return fallback


def _get_precedence(setting: Setting) -> int:
    return {"type": 0, "target": 1}.get(setting.path[-1], 2)


def _find_default_type(parents: list[str]) -> str | None:
    """The type that a component of a trial has where none is given."""
    if len(parents) == 2 and parents[0] == "encoders":
        return DEFAULT_ENCODER_TYPE
    field = TrialConfig.model_fields.get(parents[0]) if len(parents) == 1 else None
    return getattr(field.default, "type", None) if field else None


def read_settings(document: Document, at: KeyPath = ()) -> list[Setting]:
    """The values below a place of a document, keys and dotted keys alike, as settings of a trial."""
    node: Any = document.data
    for step in at:
        node = node[step]
    root = documents.format_path(at)
    whole = node if isinstance(node, Mapping) else {}  # a mapping that is left empty

    def walk(at: KeyPath, node: Mapping[str, Any], prefix: Steps) -> Iterator[Setting]:
        for key, value in node.items():
            path = (*prefix, *str(key).split("."))
            if isinstance(value, Mapping) and value:
                yield from walk((*at, key), value, path)
            else:
                source = document.source((*at, key))
                in_file = source.file == document.file
                setting = Setting(path, value, source, document.get_written_below((*at, key)))
                setting = resolve_path_setting(setting, document.folder if in_file else None)
                yield replace(setting, source=replace(source, path=root)) if in_file else setting

    return list(walk(at, whole, ()))


def resolve_path_setting(setting: Setting, folder: Path | None) -> Setting:
    """Return the setting with an absolute path, if its value is a path on this machine.

    A path in a file is relative to the file, others to the working folder. Options of plug-ins stay as they are.
    """
    path, value = setting.path, setting.value
    is_path = path[-1] in _PATHS.get(path[0], ()) and "options" not in path
    if isinstance(value, int | float):  # a name of digits
        value = setting.written.get((), str(value))
    if not is_path or not isinstance(value, str) or not value:
        return setting
    return replace(setting, value=_resolve_path(value, folder), written={})


def _resolve_path(value: str, folder: Path | None) -> str:
    try:
        return os.path.normpath(Path.cwd() / (folder or Path()) / Path(value).expanduser())
    except RuntimeError:  # a home that is not there
        return value


def find_base(name: str, near: Path | None, source: SourceLocation) -> Document:
    """The preset of that name, or the file at that path (relative to the file that names it).

    Raises `ConfigError` when there is neither, or the file is not a trial's configuration.
    """
    if name.endswith((".yaml", ".yml")):
        document = documents.read((near or Path()) / name)
        if other := describe_other_kind(document, TRIAL):
            is_itself = source.file == document.file
            raise ConfigError(
                [Problem(source, f"is {other}" if is_itself else f"{document.file} is {other}")]
            )
        return document
    presets = find_presets()
    if name not in presets:
        message = (
            f"no preset is called {name!r}{format_suggestion(name, presets)} (or name a .yaml file)"
        )
        raise ConfigError([Problem(source, message)])
    document = documents.read(presets[name])
    return replace(document, file=f"preset {name}")
