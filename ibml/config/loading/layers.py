"""Merging of configuration layers (preset, overrides, arm), with the source of each value."""

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
"""Section of the configuration -> keys whose values are paths."""
MAX_DEPTH = 20

Steps = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One value of a layer.

    Attributes:
        path: Path in the trial's configuration.
        value: The value.
        source: Location at which the value was written.
        written: Source text of the scalars in the value, by their paths; see `Document.written`.
    """

    path: Steps
    value: Any
    source: SourceLocation
    written: Mapping[KeyPath, str] = field(default_factory=dict)

    @property
    def is_left_empty(self) -> bool:
        """True if the key has no value in the file; it then leaves a mapping unchanged."""
        return self.value is None and self.written.get(()) == ""


class Layers:
    """Merged layers of a configuration, with the source of each value.

    Mappings are merged, and other values are replaced. If the `type` of a component changes, its
    other fields are reset, because those of the old type do not apply. If the `target` of a plug-in
    changes, its `options` are reset.
    """

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.sources: dict[Steps, SourceLocation] = {}
        self.written: dict[KeyPath, str] = {}

    def copy(self) -> Layers:
        """Return an independent copy, to which further layers can be added."""
        twin = Layers()
        twin.data = deepcopy(self.data)
        twin.sources = dict(self.sources)
        twin.written = dict(self.written)
        return twin

    def add(self, settings: list[Setting]) -> list[Problem]:
        """Add a layer on top.

        Args:
            settings: The values of the layer.

        Returns:
            Problems with paths: too long, given twice, or through a value that is no mapping.
        """
        problems = []
        given: set[Steps] = set()
        for setting in sorted(settings, key=_get_precedence):
            if len(setting.path) > MAX_DEPTH:
                message = f"a path of {len(setting.path)} parts names nothing"
                problems.append(Problem(setting.source, message))
            elif setting.path in given:
                message = f"{'.'.join(setting.path)!r} is given twice"
                problems.append(Problem(setting.source, message))
            else:
                given.add(setting.path)
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
                message = f"{name!r} is a value and has no {'.'.join(setting.path)!r}"
                return [Problem(setting.source, message)]
        self._reset_fields(node, setting)
        if (setting.value == {} or setting.is_left_empty) and isinstance(node.get(last), dict):
            return []  # an empty mapping merges like any other
        self._remove_below(setting.path)
        node[last] = deepcopy(setting.value)
        self.sources[setting.path] = setting.source
        self.written |= {(*setting.path, *inner): text for inner, text in setting.written.items()}
        return []

    def _reset_fields(self, node: dict[str, Any], setting: Setting) -> None:
        """Remove the fields that a change of `type` or `target` invalidates."""
        *parents, last = setting.path
        if last == "type":
            current = node.get("type", _find_default_type(parents))
            if current not in (setting.value, None):
                node.clear()
                self._remove_below(tuple(parents))
        if last == "target" and node.get("type") == "plugin":
            current = node.get("target", setting.value)
            if current != setting.value:
                node.pop("options", None)
                self._remove_below((*parents, "options"))

    def _remove_below(self, prefix: Steps) -> None:
        size = len(prefix)
        for path in list(self.sources):
            if path[:size] == prefix:
                del self.sources[path]
        for place in list(self.written):
            if place[:size] == prefix:
                del self.written[place]

    def source(self, path: Steps, fallback: SourceLocation) -> SourceLocation:
        """Find the location at which a value was written.

        Args:
            path: Path of the value.
            fallback: Location to return if there is no other.

        Returns:
            Source of the value, or of the last written value with the longest common prefix.
        """
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
    """Return the type of a component of a trial that is given without `type`."""
    if len(parents) == 2 and parents[0] == "encoders":
        return DEFAULT_ENCODER_TYPE
    if len(parents) != 1:
        return None
    field = TrialConfig.model_fields.get(parents[0])
    return getattr(field.default, "type", None) if field else None


def read_settings(document: Document, at: KeyPath = ()) -> list[Setting]:
    """Read the values below a place of a document as settings of a trial.

    Args:
        document: The document, which may have nested and dotted keys.
        at: Path of a mapping in the document.

    Returns:
        One setting per value that is not a mapping, and per empty mapping.
    """
    node: Any = document.data
    for step in at:
        node = node[step]
    root = documents.format_path(at)
    whole = node if isinstance(node, Mapping) else {}  # an empty mapping is read as null

    def walk(at: KeyPath, node: Mapping[str, Any], prefix: Steps) -> Iterator[Setting]:
        for key, value in node.items():
            path = (*prefix, *str(key).split("."))
            if isinstance(value, Mapping) and value:
                yield from walk((*at, key), value, path)
            else:
                source = document.source((*at, key))
                written = document.get_written_below((*at, key))
                setting = Setting(path, value, source, written)
                if source.file == document.file:
                    setting = replace(setting, source=replace(source, path=root))
                    yield resolve_path_setting(setting, document.folder)
                else:
                    yield resolve_path_setting(setting, None)

    return list(walk(at, whole, ()))


def resolve_path_setting(setting: Setting, folder: Path | None) -> Setting:
    """Make the value of a setting absolute, if it is a path on this machine.

    Args:
        setting: The setting. Options of plug-ins are never changed.
        folder: Folder of the file that contains the setting; None: the working folder.

    Returns:
        The setting, with an absolute path if its key is one of a path.
    """
    path = setting.path
    value = setting.value
    is_path = path[-1] in _PATHS.get(path[0], ()) and "options" not in path
    if isinstance(value, int | float):  # a file name that consists of digits
        value = setting.written.get((), str(value))
    if not is_path or not isinstance(value, str) or not value:
        return setting
    return replace(setting, value=_resolve_path(value, folder), written={})


def _resolve_path(value: str, folder: Path | None) -> str:
    try:
        return os.path.normpath(Path.cwd() / (folder or Path()) / Path(value).expanduser())
    except RuntimeError:  # the home folder is unknown
        return value


def find_base(name: str, near: Path | None, source: SourceLocation) -> Document:
    """Find the base configuration: a preset or a file.

    Args:
        name: Name of a preset, or path of a .yaml file.
        near: Folder to which the path is relative; None: the working folder.
        source: Location of the name, for errors.

    Returns:
        The document of the base.

    Raises:
        ConfigError: There is no such preset or file, or it is not a trial's configuration.
    """
    if name.endswith((".yaml", ".yml")):
        document = documents.read((near or Path()) / name)
        if other := describe_other_kind(document, TRIAL):
            is_itself = source.file == document.file
            message = f"is {other}" if is_itself else f"{document.file} is {other}"
            raise ConfigError([Problem(source, message)])
        return document
    presets = find_presets()
    if name not in presets:
        hint = format_suggestion(name, presets)
        message = f"no preset is called {name!r}{hint} (or name a .yaml file)"
        raise ConfigError([Problem(source, message)])
    document = documents.read(presets[name])
    return replace(document, file=f"preset {name}")
