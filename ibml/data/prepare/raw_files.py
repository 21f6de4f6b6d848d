"""What a raw distribution says in words: lists of samples, read line by line, and names in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from ibml.common.errors import ConfigError, IbmlError, Problem, SourceLocation
from ibml.common.sanitize import is_printable

Line = TypeVar("Line")
Row = TypeVar("Row")
_SAID = 10
"""A file of another kind is wrong in every line; so many are enough to see it."""


def require_path(raw: Path, name: str, layout: str) -> Path:
    """A file or folder of the distribution; an error that says how one is laid out if it is not there."""
    if not (raw / name).exists():
        raise IbmlError(f"{raw} has no {name}; it must be a folder with {layout}")
    return raw / name


def read_text(path: Path) -> str:
    """A file's text. The distributions have UTF-8 and, here and there, bytes of Latin-1."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    # Not splitlines, which takes control characters within a name for ends of lines.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, line.rstrip("\r")


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file, with the numbers of their last lines."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise ConfigError(
            [Problem(SourceLocation(str(path), reader.line_num), str(error))]
        ) from None


def parse_lines(
    path: Path, lines: Iterable[tuple[int, Line]], parse: Callable[[Line], Row]
) -> list[Row]:
    """What `parse` makes of each line; where it raises `ValueError`, errors with the file and line."""
    rows, problems = list[Row](), list[Problem]()
    for number, line in lines:
        try:
            rows.append(parse(line))
        except ValueError as error:
            problems.append(Problem(SourceLocation(str(path), number), str(error)))
            if len(problems) == _SAID:
                break
    if problems:
        raise ConfigError(problems)
    if not rows:
        raise ConfigError([Problem(SourceLocation(str(path)), "it lists nothing")])
    return rows


def validate_file_name(text: str) -> str:
    """A text as the name of a file or folder; raises `ValueError` where it would lead anywhere else."""
    if text in ("", ".", "..") or set(text) & set("/\\:\n\t") or not is_printable(text):
        raise ValueError(f"{text!r} is no name of a file")
    return text


def list_matching(folder: Path, pattern: str) -> list[Path]:
    """What of a folder has names like a pattern, sorted."""
    found = sorted(folder.glob(pattern))
    for path in found:
        try:
            validate_file_name(path.name)
        except ValueError as error:
            raise ConfigError([Problem(SourceLocation(str(folder)), str(error))]) from None
    return found
