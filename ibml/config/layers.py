"""A configuration put together from layers (preset, overrides, arm), each value with its source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ibml.config import load
from ibml.config.base import ConfigError, Problem, Source, did_you_mean
from ibml.config.encoders import USUAL_TYPE
from ibml.config.trial import TrialConfig

_PATHS = {"data": ("root", "vectors", "tokenizer"), "encoders": ("weights", "path")}
"""Keys, by the part of the configuration, whose values are paths."""
MAX_DEPTH = 20
PRESETS = Path(__file__).parent / "presets"

Steps = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One value of a layer: the path in the trial's configuration, the value, and where it was written."""

    path: Steps
    value: Any
    source: Source


class Layers:
    """Merged layers. Mappings merge and everything else replaces; a component whose `type` changes
    starts from its defaults, since the keys of its old type mean nothing to the new one, and so do the `options` of a
    plug-in whose `target` changes."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.sources: dict[Steps, Source] = {}

    def copy(self) -> Layers:
        twin = Layers()
        twin.data, twin.sources = deepcopy(self.data), dict(self.sources)
        return twin

    def add(self, settings: list[Setting]) -> list[Problem]:
        """Put a layer on top; returns what could not be put (a path through something that is a value)."""
        problems = []
        given: dict[Steps, Source] = {}
        for setting in sorted(settings, key=_before_what_it_decides):
            if len(setting.path) > MAX_DEPTH:
                problems.append(Problem(setting.source, f"a path of {len(setting.path)} parts names nothing"))
                continue
            if setting.path in given:
                problems.append(Problem(setting.source, f"{'.'.join(setting.path)!r} is given twice"))
                continue
            given[setting.path] = setting.source
            problems += self._put(setting)
        return problems

    def _put(self, setting: Setting) -> list[Problem]:
        *parents, last = setting.path
        node = self.data
        for depth, step in enumerate(parents):
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                name = ".".join(setting.path[: depth + 1])
                return [Problem(setting.source, f"{name!r} is a value and has no {'.'.join(setting.path)!r}")]
        if last == "type" and node.get("type", _usual_type(parents)) not in (setting.value, None):
            node.clear()
            self._forget(tuple(parents))
        if last == "target" and node.get("type") == "plugin" and node.get("target", setting.value) != setting.value:
            node.pop("options", None)
            self._forget((*parents, "options"))
        if setting.value == {} and isinstance(node.get(last), dict):
            return []  # an empty mapping merges like any other
        self._forget(setting.path)
        node[last] = deepcopy(setting.value)
        self.sources[setting.path] = setting.source
        return []

    def _forget(self, below: Steps) -> None:
        for path in [p for p in self.sources if p[: len(below)] == below]:
            del self.sources[path]

    def source(self, path: Steps, fallback: Source) -> Source:
        """Where the value at a path came from: its own source, or that of its nearest relative written last."""
        for size in range(len(path), 0, -1):
            prefix = path[:size]
            if prefix in self.sources:
                return self.sources[prefix]
            for known, source in reversed(self.sources.items()):
                if known[:size] == prefix:
                    return source
        return fallback


def _before_what_it_decides(setting: Setting) -> int:
    return {"type": 0, "target": 1}.get(setting.path[-1], 2)


def _usual_type(parents: list[str]) -> str | None:
    """The type that a component of a trial has where none is given."""
    if len(parents) == 2 and parents[0] == "encoders":
        return USUAL_TYPE
    field = TrialConfig.model_fields.get(parents[0]) if len(parents) == 1 else None
    return getattr(field.default, "type", None) if field else None


def settings(document: load.Document, at: load.Path_ = ()) -> list[Setting]:
    """The values below a place of a document, keys and dotted keys alike, as settings of a trial."""
    node: Any = document.data
    for step in at:
        node = node[step]
    root = load.dotted(at)

    def walk(at: load.Path_, node: Mapping[str, Any], prefix: Steps) -> Iterator[Setting]:
        for key, value in node.items():
            path = (*prefix, *str(key).split("."))
            if isinstance(value, Mapping) and value:
                yield from walk((*at, key), value, path)
            else:
                source = document.source((*at, key))
                if source.file == document.file:
                    yield Setting(path, placed(path, value, document.folder), replace(source, path=root))
                else:
                    yield Setting(path, placed(path, value, None), source)

    return list(walk(at, node, ()))


def placed(path: Steps, value: Any, folder: Path | None) -> Any:
    """A value that is a path on this machine made absolute: one in a file is relative to the file, others to the
    working folder. Other values as they are, and so are the options of plug-ins, whatever they are called."""
    is_path = path[-1] in _PATHS.get(path[0], ()) and "options" not in path
    if not is_path or not isinstance(value, str) or not value:
        return value
    try:
        return os.path.normpath(Path.cwd() / (folder or Path()) / Path(value).expanduser())
    except RuntimeError:  # a home that is not there
        return value


def find_base(name: str, near: Path | None, source: Source) -> load.Document:
    """The preset of that name, or the file at that path (relative to the file that names it).

    Raises `ConfigError` when there is neither.
    """
    if name.endswith((".yaml", ".yml")):
        return load.read((near or Path()) / name)
    presets = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    if name not in presets:
        message = f"no preset is called {name!r}{did_you_mean(name, presets)} (or name a .yaml file)"
        raise ConfigError([Problem(source, message)])
    document = load.read(presets[name])
    return replace(document, file=f"preset {name}")
