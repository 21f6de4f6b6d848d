"""User-facing errors: expected failures, and configuration problems with their locations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches


class IbmlError(RuntimeError):
    """Base class of expected, user-facing errors, for example an unreachable store or cluster."""


@dataclass(frozen=True)
class SourceLocation:
    """Location of a value in a configuration, printed as `file:line: path`.

    Attributes:
        file: File name, or the command-line option (`-o ...`).
        line: Line number from 1, or None if unknown.
        path: Dotted path of the value inside the file.
    """

    file: str
    line: int | None = None
    path: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.path}" if self.path else place


@dataclass(frozen=True)
class Problem:
    """One configuration problem with its location.

    Attributes:
        source: Location of the problem.
        message: Description of the problem and a suggestion, without the location.
    """

    source: SourceLocation
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.message}"


class ConfigError(ValueError):
    """Invalid configuration, with all problems at once.

    Args:
        problems: Problems found; duplicates are dropped.

    Attributes:
        problems: Distinct problems, ordered by file and line.

    Example:
        >>> import ibml
        >>> try:
        ...     ibml.ablate("ablations/smoke.yaml", ["trainer.epoch=5"])
        ... except ibml.ConfigError as error:
        ...     print(error.problems[0])
        -o trainer.epoch=5: unknown key 'trainer.epoch'; did you mean 'trainer.epochs'?
    """

    def __init__(self, problems: Iterable[Problem]):
        unique = dict.fromkeys(problems)
        self.problems = sorted(unique, key=lambda p: (p.source.file, p.source.line or 0))
        super().__init__("\n".join(map(str, self.problems)))


def format_suggestion(word: str, choices: Iterable[str]) -> str:
    """Return a suggestion to append to an error message about an unknown word.

    A dotted path with the same last part is preferred to a choice of similar spelling.

    Args:
        word: The unknown word.
        choices: The known words.

    Returns:
        The closest choice, or all of at most 16 choices, or an empty string.

    Example:
        >>> from ibml.common.errors import format_suggestion
        >>> format_suggestion("acuracy", ["loss", "accuracy"])
        "; did you mean 'accuracy'?"
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
    """Return the dotted paths among `choices` with the last part of `word`, most similar first."""
    last = get_last_part(word)
    if not last.isidentifier():
        return []  # numbers such as 12.0 contain a dot too
    found = [choice for choice in choices if "." in choice and get_last_part(choice) == last]
    return sorted(found, key=lambda choice: -SequenceMatcher(None, word, choice).ratio())


def get_last_part(path: str) -> str:
    """Return the part of a dotted path after its last dot."""
    return path.rpartition(".")[2]
