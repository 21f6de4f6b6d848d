"""Errors that users see: expected failures, and problems of configurations with their places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches


class IbmlError(RuntimeError):
    """Base class of expected, user-facing errors, for example an unreachable store, cluster or device."""


@dataclass(frozen=True)
class SourceLocation:
    """Place of a value: its file (or `-o ...`), its line, and its path inside the file."""

    file: str
    line: int | None = None
    path: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.path}" if self.path else place


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration, and where."""

    source: SourceLocation
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.message}"


class ConfigError(ValueError):
    """A configuration that cannot be used; `problems` has everything found wrong, in file order."""

    def __init__(self, problems: Iterable[Problem]):
        unique = dict.fromkeys(problems)
        self.problems = sorted(unique, key=lambda p: (p.source.file, p.source.line or 0))
        super().__init__("\n".join(map(str, self.problems)))


def format_suggestion(word: str, choices: Iterable[str]) -> str:
    """Return the end of an error message: the closest choice, or a short list of all of them, or nothing.

    A dotted path with the same last part comes first, then what is spelled alike.
    """
    options = list(choices)
    close = find_same_last_part(word, options)[:1] or get_close_matches(
        word, options, n=1, cutoff=0.6
    )
    if close:
        return f"; did you mean {close[0]!r}?"
    if 0 < len(options) <= 16:
        return f"; known: {', '.join(options)}"
    return ""


def find_same_last_part(word: str, choices: Iterable[str]) -> list[str]:
    """Return the dotted paths that end like a word, the most similar first."""
    last = get_last_part(word)
    if not last.isidentifier():
        return []  # a number has a point too
    found = [choice for choice in choices if "." in choice and get_last_part(choice) == last]
    return sorted(found, key=lambda choice: -SequenceMatcher(None, word, choice).ratio())


def get_last_part(path: str) -> str:
    """Return the part of a dotted path after its last dot."""
    return path.rpartition(".")[2]
