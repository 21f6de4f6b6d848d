"""Which kind of YAML file a document is, and which command takes it."""

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
    """A kind of YAML file: what it is called, what to do with it, and the keys that only files of this kind have."""

    noun: str
    advice: str
    keys: frozenset[str]
    results: str = ""
    """What shows the results of such a file, where `advice` does not."""


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
"""What stands for a trial in the store. It is not a file."""
_DECISIVE = {"design": STUDY, "parameters": SPACE}
"""The keys that a file of a kind must have, each of which no other kind has."""


def find_kind(data: Mapping[str, Any]) -> FileKind | None:
    """Return the kind of file that data are from, as far as their keys tell."""
    keys = {str(key).partition(".")[0] for key in data}
    for key, kind in _DECISIVE.items():
        if key in keys:
            return kind
    matching = [kind for kind in (STUDY, SPACE, TRIAL, USER) if kind.keys & keys]
    return matching[0] if len(matching) == 1 else None


def describe_other_kind(document: Document, wanted: FileKind, results: bool = False) -> str:
    """Return what a document is and what to do with it; empty where it may be of the wanted kind.

    With `results` the advice is how to see the results of a file, not how to run it.
    """
    found = find_kind(document.data)
    if found is None or found is wanted:
        return ""
    if document.folder is None:
        return f"{found.noun}, not {wanted.noun}"
    name = document.data.get("name")
    advice = found.results if results and found.results and isinstance(name, str) else found.advice
    said = advice.format(file=shlex.quote(document.file), name=shlex.quote(str(name)))
    return f"{found.noun}, not {wanted.noun}; {said}"


def check_kind(document: Document, wanted: FileKind, results: bool = False) -> Document:
    """Return the document if it may be of the wanted kind.

    Raises:
        ConfigError: It is of another kind; the message names the command that takes it.
    """
    other = describe_other_kind(document, wanted, results)
    if other:
        raise ConfigError([Problem(SourceLocation(document.file), f"is {other}")])
    return document


def read_as(path: str | Path, wanted: FileKind, results: bool = False) -> Document:
    """Return the document in a file of a kind.

    Raises:
        ConfigError: There is no such file, it cannot be read, or it is of another kind.
    """
    path = Path(path)
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        if str(path) in find_presets():
            message = f"is a preset, not {wanted.noun}; {TRIAL.advice.format(file=path)}"
            raise ConfigError([Problem(SourceLocation(str(path)), message)])
        if path.with_name(f"{path.name}.yaml").is_file():
            raise ConfigError(
                [Problem(SourceLocation(str(path)), f"is not a file; did you mean '{path}.yaml'?")]
            )
    return check_kind(documents.read(path), wanted, results)
