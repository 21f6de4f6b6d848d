"""Names that users write: the same name is the same text, whoever typed it.

Spaces around a name do not count, and accents are composed (Unicode NFC): some systems write `é` as two characters.
Upper and lower case are different.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from ibml.config.base import Problem, refuse_null
from ibml.config.load import Document, Path_, dotted

V = TypeVar("V")

_PLACES: set[Path_] = {
    ("datasets",),
    *(("design", part) for part in ("arms", "components", "factors")),
    *(("table", part) for part in ("groups", "names", "components")),
}
"""The mappings of a study file whose keys are names."""


def normalize_name(name: V) -> V:
    """Return a name without spaces around it, accents composed; anything but text as it is."""
    return unicodedata.normalize("NFC", name).strip() if isinstance(name, str) else name  # type: ignore[return-value]


Name = Annotated[
    str,
    BeforeValidator(normalize_name),
    BeforeValidator(refuse_null, json_schema_input_type=str | int | float | bool | None),
]
"""A name. In a file it may look like a number, a truth value or null; `ibml.config.validate` takes it as written."""
_STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
StudyName = Annotated[Name, Field(pattern=_STUDY_NAME, max_length=80, json_schema_extra={"pattern": _STUDY_NAME})]


def normalize_names(document: Document) -> tuple[Document, list[Problem]]:
    """Return a study's document with the keys that are names normalized, and those that are given twice then."""
    problems: list[Problem] = []
    data = _normalize_keys(document, document.data, (), problems)
    lines = {_normalize_path(path): line for path, line in reversed(document.lines.items())}
    elsewhere = {_normalize_path(path): source for path, source in reversed(document.elsewhere.items())}
    written = {_normalize_path(path): text for path, text in reversed(document.written.items())}
    return replace(document, data=data, lines=lines, elsewhere=elsewhere, written=written), problems


def _normalize_keys(document: Document, node: Any, path: Path_, problems: list[Problem]) -> Any:
    if not isinstance(node, Mapping) or len(path) > 3:
        return node
    first: dict[str, str] = {}
    result: dict[str, Any] = {}
    for key, value in node.items():
        name = normalize_name(key) if _holds_names(path) else key
        if name in result:
            problems.append(_given_twice(document, path, key, first[name]))
            continue
        first[name] = key
        result[name] = _normalize_keys(document, value, (*path, key), problems)
    return result


def _given_twice(document: Document, path: Path_, key: str, first: str) -> Problem:
    source, before = document.source((*path, key)), document.source((*path, first))
    place = f", first in line {before.line}" if before.line else ""
    message = (
        f"{normalize_name(key)!r} is given twice{place}; spaces around a name and the encoding of its accents"
        " do not count"
    )
    return Problem(replace(source, path=dotted(path)), message)


def _normalize_path(path: Path_) -> Path_:
    return tuple(normalize_name(step) if _holds_names(path[:depth]) else step for depth, step in enumerate(path))


def _holds_names(path: Path_) -> bool:
    """Whether the keys of the mapping at a path are names; those of a factor are the names of its levels."""
    return path in _PLACES or (len(path) == 3 and path[:2] == ("design", "factors"))
