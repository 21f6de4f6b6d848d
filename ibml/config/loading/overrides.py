"""Overrides from the command line, applied to a document as if its file contained them."""

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
    """Parse one override of the form `path=value`.

    Args:
        text: The override; its value is YAML. A mapping is merged, as in a file.

    Returns:
        The settings.

    Raises:
        ConfigError: The text is not of this form, or the value is not valid YAML.
    """
    path, equals, value = text.partition("=")
    source = SourceLocation(f"-o {text}")
    steps = tuple(path.strip().split("."))
    if not equals or not all(steps):
        raise ConfigError([Problem(source, "expected path=value, for instance trainer.epochs=5")])
    document = documents.parse_value(value, source.file)
    parsed = document.data["value"]
    at = ("value",)
    if isinstance(parsed, dict) and parsed:
        settings = [
            replace(setting, path=(*steps, *setting.path), source=source)
            for setting in read_settings(document, at)
        ]
    else:
        settings = [Setting(steps, parsed, source, document.get_written_below(at))]
    return [resolve_path_setting(setting, None) for setting in settings]


def find_unknown_sections(
    given: Iterable[Setting], models: Sequence[type[Config]]
) -> list[Problem]:
    """Report settings whose path begins with an unknown section.

    Args:
        given: The settings.
        models: Configuration classes whose fields are the sections.

    Returns:
        A problem for each unknown section, with a suggestion.
    """
    sections = {section for model in models for section in model.model_fields}
    problems = []
    for setting in given:
        if setting.path[0] not in sections:
            hint = suggest_setting(setting.path, setting.value, models)
            message = f"{UNKNOWN_KEY} {'.'.join(setting.path)!r}{hint}"
            problems.append(Problem(setting.source, message))
    return problems


def apply_overrides(document: Document, given: list[Setting]) -> Document:
    """Apply settings to a document, which may have nested and dotted keys.

    Args:
        document: The document, which is not changed.
        given: The settings, in order.

    Returns:
        A copy of the document with the new values and their sources.
    """
    data = deepcopy(document.data)
    elsewhere = dict(document.elsewhere)
    written = dict(document.written)
    for setting in given:
        node: dict[str, Any] = data
        place: tuple[str, ...] = ()
        steps = setting.path
        while (size := _count_key_steps(node, steps)) < len(steps):
            key, steps = ".".join(steps[:size]), steps[size:]
            if not isinstance(node.get(key), dict):
                node[key] = {}
                elsewhere[(*place, key)] = setting.source
            node = node[key]
            place = (*place, key)
        if steps == ("type",) and node.get("type", setting.value) != setting.value:
            node.clear()  # the fields of the old type do not apply to the new type
        node[".".join(steps)] = deepcopy(setting.value)
        at = (*place, ".".join(steps))
        elsewhere[at] = setting.source
        written = {path: text for path, text in written.items() if path[: len(at)] != at}
        written |= {(*at, *inner): text for inner, text in setting.written.items()}
    return replace(document, data=data, elsewhere=elsewhere, written=written)


def _count_key_steps(node: dict[str, Any], steps: tuple[str, ...]) -> int:
    """Return the number of steps of a path that the longest matching key of a mapping covers."""
    for size in range(len(steps), 0, -1):
        if ".".join(steps[:size]) in node:
            return size
    return 1
