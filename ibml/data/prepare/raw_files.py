"""Text files of raw distributions: lists of samples, read by line, and names in them."""

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
_REPORTED = 10
"""Number of invalid lines that are reported, since a file of another kind is invalid throughout."""


def require_path(raw: Path, name: str, layout: str) -> Path:
    """Return the path of a file or folder of the distribution.

    Args:
        raw: Folder of the distribution.
        name: Path below it.
        layout: Description of a complete distribution, for the error.

    Returns:
        The path.

    Raises:
        IbmlError: The path does not exist.
    """
    if not (raw / name).exists():
        raise IbmlError(f"{raw} has no {name}; it must be a folder with {layout}")
    return raw / name


def read_utf8(path: Path) -> str:
    """Read a text file in UTF-8 or, as some distributions have it, Latin-1."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and content of the lines that are not empty."""
    # Not with splitlines, which treats control characters in a name as ends of lines.
    for number, line in enumerate(read_utf8(path).split("\n"), 1):
        if line.strip():
            yield number, line.rstrip("\r")


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file that are not empty.

    Args:
        path: Path of the file.

    Yields:
        Number of the row's last line, and its cells.

    Raises:
        ConfigError: The file is not CSV.
    """
    reader = csv.reader(io.StringIO(read_utf8(path), newline=""))
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        location = SourceLocation(str(path), reader.line_num)
        raise ConfigError([Problem(location, str(error))]) from None


def parse_lines(
    path: Path, lines: Iterable[tuple[int, Line]], parse: Callable[[Line], Row]
) -> list[Row]:
    """Parse each line of a file.

    Args:
        path: Path of the file, for errors.
        lines: Numbers and lines.
        parse: Parses one line; raises `ValueError` for an invalid one.

    Returns:
        The results of `parse`, at least one.

    Raises:
        ConfigError: A line is invalid, or the file has no lines.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, line in lines:
        try:
            rows.append(parse(line))
        except ValueError as error:
            problems.append(Problem(SourceLocation(str(path), number), str(error)))
            if len(problems) == _REPORTED:
                break
    if problems:
        raise ConfigError(problems)
    if not rows:
        raise ConfigError([Problem(SourceLocation(str(path)), "the file lists no samples")])
    return rows


def validate_file_name(text: str) -> str:
    """Return a text that is the name of a file or folder; raise `ValueError` for any other."""
    if text in ("", ".", "..") or set(text) & set("/\\:\n\t") or not is_printable(text):
        raise ValueError(f"{text!r} is not a file name")
    return text


def list_matching(folder: Path, pattern: str) -> list[Path]:
    """List the files and folders whose names match a pattern.

    Args:
        folder: Folder to search.
        pattern: Glob pattern.

    Returns:
        Sorted paths.

    Raises:
        ConfigError: A name cannot be shown.
    """
    found = sorted(folder.glob(pattern))
    for path in found:
        try:
            validate_file_name(path.name)
        except ValueError as error:
            raise ConfigError([Problem(SourceLocation(str(folder)), str(error))]) from None
    return found
