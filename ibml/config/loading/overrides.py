"""Values from the command line, put into a document as if its file had them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from ibml.common.errors import ConfigError, Problem, SourceLocation
from ibml.common.yaml import documents
from ibml.common.yaml.documents import Document
from ibml.config.base import Config
from ibml.config.loading.error_messages import UNKNOWN_KEY
from ibml.config.loading.layers import Setting, read_settings, resolve_path_setting
from ibml.config.loading.suggestions import suggest_setting


def parse_override(text: str) -> list[Setting]:
    """The settings of one `path=value`; a mapping as value merges as it does in a file."""
    path, equals, value = text.partition("=")
    source = SourceLocation(f"-o {text}")
    steps = tuple(path.strip().split("."))
    if not equals or not all(steps):
        raise ConfigError([Problem(source, "expected path=value, for instance trainer.epochs=5")])
    document = documents.parse_value(value, source.file)
    parsed, at = document.data["value"], ("value",)
    if not isinstance(parsed, dict) or not parsed:
        return [
            resolve_path_setting(
                Setting(steps, parsed, source, document.get_written_below(at)), None
            )
        ]
    inside = read_settings(document, at)
    return [
        resolve_path_setting(replace(s, path=(*steps, *s.path), source=source), None)
        for s in inside
    ]


def find_unknown_sections(
    given: Iterable[Setting], models: Sequence[type[Config]]
) -> list[Problem]:
    """Return what is wrong with settings whose path begins with no section of these configurations."""
    return [
        Problem(
            s.source,
            f"{UNKNOWN_KEY} {'.'.join(s.path)!r}{suggest_setting(s.path, s.value, models)}",
        )
        for s in given
        if not any(s.path[0] in model.model_fields for model in models)
    ]


def apply_overrides(document: Document, given: list[Setting]) -> Document:
    """The document with the values in it, over nested and over dotted keys alike."""
    data, elsewhere, written = (
        deepcopy(document.data),
        dict(document.elsewhere),
        dict(document.written),
    )
    for setting in given:
        node: dict[str, Any] = data
        place: tuple[str, ...] = ()
        steps = setting.path
        while (size := _count_key_steps(node, steps)) < len(steps):
            key, steps = ".".join(steps[:size]), steps[size:]
            if not isinstance(node.get(key), dict):
                node[key] = {}
                elsewhere[(*place, key)] = setting.source
            node, place = node[key], (*place, key)
        if steps == ("type",) and node.get("type", setting.value) != setting.value:
            node.clear()  # the keys of the old type mean nothing to the new one
        node[".".join(steps)] = deepcopy(setting.value)
        at = (*place, ".".join(steps))
        elsewhere[at] = setting.source
        written = {path: text for path, text in written.items() if path[: len(at)] != at}
        written |= {(*at, *inner): text for inner, text in setting.written.items()}
    return replace(document, data=data, elsewhere=elsewhere, written=written)


def _count_key_steps(node: dict[str, Any], steps: tuple[str, ...]) -> int:
    """How many steps of a path the key of a mapping has that it goes through: as many as stand there in one."""
    return next((size for size in range(len(steps), 0, -1) if ".".join(steps[:size]) in node), 1)
