"""Kinds of YAML files, and the commands that accept them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibml.common.errors import ConfigError, Problem, SourceLocation
from ibml.common.yaml import documents
from ibml.common.yaml.documents import Document
from ibml.config.loading.presets import find_presets


@dataclass(frozen=True)
class FileKind:
    """A kind of YAML file.

    Attributes:
        noun: Name of the kind, with article.
        advice: Advice how to use such a file; `{file}` stands for its path.
        keys: Top-level keys that only files of this kind have.
        results: Advice how to see the results of such a file; `{name}` stands for the name in it.
    """

    noun: str
    advice: str
    keys: frozenset[str]
    results: str = ""


STUDY = FileKind(
    "a study",
    "run it with: ibml ablate {file}",
    frozenset(("design", "seeds", "datasets", "tune", "table")),
    "see its results with: ibml table {name}",
)
SPACE = FileKind(
    "a search space",
    "search it with: ibml tune {file}",
    frozenset(
        (
            "parameters",
            "objectives",
            "sampler",
            "scheduler",
            "trials",
            "seeds_per_trial",
            "start_from",
        )
    ),
    "see its results with: ibml report {name}",
)
TRIAL = FileKind(
    "a trial's configuration",
    "train it with: ibml train {file}",
    frozenset(("data", "encoders", "fusion", "method", "optimizer", "schedule", "trainer")),
)
USER = FileKind(
    "a file of user settings", "it belongs into ~/.config/ibml/config.yaml", frozenset(("plugins",))
)
RECORDED = FileKind("a recorded trial's run id or key", "", frozenset())
"""Placeholder for a trial in the store, which is not a file."""
_DECISIVE = {"design": STUDY, "parameters": SPACE}
"""Required key of a kind -> kind; no other kind has this key."""


def find_kind(data: Mapping[str, Any]) -> FileKind | None:
    """Infer the kind of a file from its top-level keys; None if they are ambiguous."""
    keys = {str(key).partition(".")[0] for key in data}
    for key, kind in _DECISIVE.items():
        if key in keys:
            return kind
    matching = [kind for kind in (STUDY, SPACE, TRIAL, USER) if kind.keys & keys]
    return matching[0] if len(matching) == 1 else None


def describe_other_kind(document: Document, wanted: FileKind, results: bool = False) -> str:
    """Describe a document of another kind than the wanted one.

    Args:
        document: The document.
        wanted: The kind that a command accepts.
        results: Advise how to see the results of the file instead of how to run it.

    Returns:
        The kind of the document and an advice; empty if it may be of the wanted kind.
    """
    found = find_kind(document.data)
    if found is None or found is wanted:
        return ""
    if document.folder is None:
        return f"{found.noun}, not {wanted.noun}"
    name = document.data.get("name")
    shows_results = results and found.results and isinstance(name, str)
    template = found.results if shows_results else found.advice
    advice = template.format(file=shlex.quote(document.file), name=shlex.quote(str(name)))
    return f"{found.noun}, not {wanted.noun}; {advice}"


def check_kind(document: Document, wanted: FileKind, results: bool = False) -> Document:
    """Check that a document may be of the wanted kind.

    Args:
        document: The document.
        wanted: The kind that a command accepts.
        results: Advise how to see the results of the file instead of how to run it.

    Returns:
        The document.

    Raises:
        ConfigError: The document is of another kind; the message names the suitable command.
    """
    other = describe_other_kind(document, wanted, results)
    if other:
        raise ConfigError([Problem(SourceLocation(document.file), f"is {other}")])
    return document


def read_as(path: str | Path, wanted: FileKind, results: bool = False) -> Document:
    """Read a file of a kind.

    Args:
        path: Path of the file.
        wanted: The kind that a command accepts.
        results: Advise how to see the results of the file instead of how to run it.

    Returns:
        The document in the file.

    Raises:
        ConfigError: The file does not exist, cannot be read, or is of another kind.
    """
    path = Path(path)
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        if str(path) in find_presets():
            message = f"is a preset, not {wanted.noun}; {TRIAL.advice.format(file=path)}"
            raise ConfigError([Problem(SourceLocation(str(path)), message)])
        if path.with_name(f"{path.name}.yaml").is_file():
            message = f"is not a file; did you mean '{path}.yaml'?"
            raise ConfigError([Problem(SourceLocation(str(path)), message)])
    return check_kind(documents.read(path), wanted, results)
