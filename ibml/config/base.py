"""The base of every configuration class, and the errors that configurations report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError


class Config(BaseModel):
    """A frozen configuration: unknown keys are errors, and a value must have its field's type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# YAML has lists only; a frozen configuration keeps them as tuples.
T = TypeVar("T")
Items = Annotated[tuple[T, ...], Field(strict=False)]

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=10**9)]

NULL_NAME = "null_name"
"""The type of pydantic's error for a null where a name is expected."""


def refuse_null(value: Any) -> Any:
    """Tell a null that may be a name, as it is written, from a null where other text is expected."""
    if value is None:
        raise PydanticCustomError(NULL_NAME, "expected text, got nothing")
    return value


def scalar_text(value: bool | float) -> str:
    """Return a number or a truth value as YAML writes it, where the text in the file is not known."""
    return str(value).lower() if isinstance(value, bool) else str(value)


Overrides = dict[str, Any]
"""Dotted paths into a trial's configuration, or nested mappings, with their values."""

Findings = list[tuple[tuple[str, ...], str]]
"""What does not fit together: the path of each, and what is wrong with it."""


class IbmlError(RuntimeError):
    """What a user can be told in a line: a store, cluster or device that is not to be had."""


@dataclass(frozen=True)
class Source:
    """Where a value was written: the file (or `-o ...`), its line, and the path inside the file."""

    file: str
    line: int | None = None
    path: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.path}" if self.path else place


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration, and where."""

    source: Source
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.message}"


class ConfigError(ValueError):
    """A configuration that cannot be used; `problems` has everything found wrong, in file order."""

    def __init__(self, problems: Iterable[Problem]):
        unique = dict.fromkeys(problems)
        self.problems = sorted(unique, key=lambda p: (p.source.file, p.source.line or 0))
        super().__init__("\n".join(map(str, self.problems)))


class InconsistentConfig(ValueError):
    """Fields that are each valid but do not fit together: a list of (path, message)."""

    def __init__(self, findings: Findings):
        self.findings = findings
        super().__init__("; ".join(f"{'.'.join(path)}: {message}" for path, message in findings))


class WrongOptions(ValueError):
    """Options that their own model, which the configuration around them does not know, refuses."""

    def __init__(self, error: ValidationError, model: type[BaseModel], options: dict[str, Any]):
        self.error, self.model, self.options = error, model, options
        super().__init__(str(error))


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return the end of an error message: the closest choice, or a short list of all of them, or nothing.

    A dotted path with the same last part comes first, then what is spelled alike.
    """
    options = list(choices)
    close = same_last_part(word, options)[:1] or get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    if 0 < len(options) <= 16:
        return f"; known: {', '.join(options)}"
    return ""


def same_last_part(word: str, choices: Iterable[str]) -> list[str]:
    """Return the dotted paths that end like a word, the most similar first."""
    last = last_part(word)
    if not last.isidentifier():
        return []  # a number has a point too
    found = [choice for choice in choices if "." in choice and last_part(choice) == last]
    return sorted(found, key=lambda choice: -SequenceMatcher(None, word, choice).ratio())


def last_part(path: str) -> str:
    """Return the part of a dotted path after its last dot."""
    return path.rpartition(".")[2]
