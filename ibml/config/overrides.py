"""Values from the command line, put into a document as if its file had them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from ibml.config import load
from ibml.config.base import ConfigError, Problem, Source
from ibml.config.layers import Setting, placed, settings


def command_line(text: str) -> list[Setting]:
    """The settings of one `path=value`; a mapping as value merges as it does in a file."""
    path, equals, value = text.partition("=")
    source = Source(f"-o {text}")
    steps = tuple(path.strip().split("."))
    if not equals or not all(steps):
        raise ConfigError([Problem(source, "expected path=value, for instance trainer.epochs=5")])
    parsed = load.parse_value(value, source.file)
    if not isinstance(parsed, dict) or not parsed:
        return [Setting(steps, placed(steps, parsed, None), source)]
    inside = settings(load.Document(source.file, parsed))
    paths = [((*steps, *setting.path), setting.value) for setting in inside]
    return [Setting(path, placed(path, value, None), source) for path, value in paths]


def overridden(document: load.Document, given: list[Setting]) -> load.Document:
    """The document with the values in it, over nested and over dotted keys alike."""
    data, elsewhere = deepcopy(document.data), dict(document.elsewhere)
    for setting in given:
        node: dict[str, Any] = data
        place: tuple[str, ...] = ()
        steps = setting.path
        while (size := _longest_key(node, steps)) < len(steps):
            key, steps = ".".join(steps[:size]), steps[size:]
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node, place = node[key], (*place, key)
        if steps == ("type",) and node.get("type", setting.value) != setting.value:
            node.clear()  # the keys of the old type mean nothing to the new one
        node[".".join(steps)] = deepcopy(setting.value)
        elsewhere[(*place, ".".join(steps))] = setting.source
    return replace(document, data=data, elsewhere=elsewhere)


def _longest_key(node: dict[str, Any], steps: tuple[str, ...]) -> int:
    """How many steps of a path the key of a mapping has that it goes through: as many as stand there in one."""
    return next((size for size in range(len(steps), 0, -1) if ".".join(steps[:size]) in node), 1)
