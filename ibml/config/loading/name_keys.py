"""Normalization of the keys of study files that are names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ibml.common.errors import Problem
from ibml.common.yaml.documents import Document, KeyPath, format_path
from ibml.config.names import normalize_name

_PLACES: set[KeyPath] = {
    ("datasets",),
    *(("design", part) for part in ("arms", "components", "factors")),
    *(("table", part) for part in ("groups", "names", "components")),
}
"""Mappings of a study file whose keys are names."""


def normalize_names(document: Document) -> tuple[Document, list[Problem]]:
    """Normalize the names among the keys of a study's document.

    Args:
        document: The document, which is not changed.

    Returns:
        The document with normalized names; a problem for each name that is then given twice.
    """
    problems: list[Problem] = []
    data = _normalize_keys(document, document.data, (), problems)
    lines = {_normalize_path(path): line for path, line in reversed(document.lines.items())}
    elsewhere = {
        _normalize_path(path): source for path, source in reversed(document.elsewhere.items())
    }
    written = {_normalize_path(path): text for path, text in reversed(document.written.items())}
    return replace(document, data=data, lines=lines, elsewhere=elsewhere, written=written), problems


def _normalize_keys(document: Document, node: Any, path: KeyPath, problems: list[Problem]) -> Any:
    if not isinstance(node, Mapping) or len(path) > 3:
        return node
    first: dict[str, str] = {}
    result: dict[str, Any] = {}
    for key, value in node.items():
        name = normalize_name(key) if _has_name_keys(path) else key
        if name in result:
            problems.append(_describe_duplicate(document, path, key, first[name]))
            continue
        first[name] = key
        result[name] = _normalize_keys(document, value, (*path, key), problems)
    return result


def _describe_duplicate(document: Document, path: KeyPath, key: str, first: str) -> Problem:
    source = document.source((*path, key))
    before = document.source((*path, first))
    place = f", first in line {before.line}" if before.line else ""
    message = (
        f"{normalize_name(key)!r} is given twice{place};"
        " spaces around a name and the encoding of its accents do not count"
    )
    return Problem(replace(source, path=format_path(path)), message)


def _normalize_path(path: KeyPath) -> KeyPath:
    steps = list(path)
    for depth, step in enumerate(path):
        if _has_name_keys(path[:depth]):
            steps[depth] = normalize_name(step)
    return tuple(steps)


def _has_name_keys(path: KeyPath) -> bool:
    """Return True if the keys of the mapping at a path are names, including names of levels."""
    return path in _PLACES or (len(path) == 3 and path[:2] == ("design", "factors"))
