"""YAML documents as plain data with the line number of every value.

Scalars follow YAML 1.2: `1e-4` is a number, `on` and `no` are text, keys are text. Merge keys
(`<<`) are supported. Tags that build objects, duplicate keys, files over 1 MB and anchors that
expand without end are rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ibml.common.errors import ConfigError, Problem, SourceLocation
from ibml.common.sanitize import is_printable
from ibml.common.yaml.rules import (
    KINDS,
    MAX_VALUES,
    MERGE_KEY,
    STANDARD,
    Dumper,
    Loader,
    TooManyValues,
)

MAX_BYTES = 1_000_000
"""Maximum size of a file, in bytes."""
INTEGER_LIMIT = 2**63
"""Integers must be smaller in absolute value, as in databases."""

KeyPath = tuple[str | int, ...]
"""Keys and list indices that lead to a value."""


@dataclass(frozen=True)
class Document:
    """Plain data of a YAML document, with the source location of its values.

    Attributes:
        file: File name, or a name for data from another source.
        data: The data.
        lines: Line number from 1 by path; empty for data from Python.
        text: Text of the document.
        elsewhere: Locations of values that the command line has put into the data.
        written: Text of every number, boolean and null as written, by path; empty for an empty
            value.
        folder: Folder of the file, or None if the document is not a file.
    """

    file: str
    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    text: str = ""
    elsewhere: dict[KeyPath, SourceLocation] = field(default_factory=dict)
    written: dict[KeyPath, str] = field(default_factory=dict)
    folder: Path | None = None

    def source(self, path: KeyPath) -> SourceLocation:
        """Return the location of a path, or of its closest ancestor in the file."""
        for size in range(len(path), 0, -1):
            if path[:size] in self.elsewhere:
                return self.elsewhere[path[:size]]
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return SourceLocation(self.file, self.lines.get(known), format_path(path))

    def get_written_below(self, path: KeyPath) -> dict[KeyPath, str]:
        """Return the entries of `written` below a path, keyed by their paths relative to it."""
        node: Any = self.data
        for step in path:
            node = node[step]
        below = {}
        for inner in iterate_scalar_paths(node):
            full = (*path, *inner)
            if full in self.written:
                below[inner] = self.written[full]
        return below


def iterate_scalar_paths(value: Any, at: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every scalar inside a value.

    Args:
        value: Plain data.
        at: Path of the value, with which the yielded paths begin.

    Yields:
        The path of one scalar.
    """
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from iterate_scalar_paths(part, (*at, key))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from iterate_scalar_paths(part, (*at, index))
    else:
        yield at


def format_path(path: KeyPath) -> str:
    """Format a path for users: `("a", "b", 0)` becomes `a.b[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def read(path: Path) -> Document:
    """Read a YAML file.

    Args:
        path: The file.

    Returns:
        The document.

    Raises:
        ConfigError: If the file cannot be read, is not YAML or is not a mapping.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _build_error(str(path), None, f"cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise _build_error(
            str(path), None, f"is too large; a configuration has at most {MAX_BYTES:,} bytes"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _build_error(str(path), line, "is not UTF-8 text") from None
    return replace(parse(text, str(path)), folder=path.parent)


def parse(text: str, file: str) -> Document:
    """Parse YAML text.

    Args:
        text: The text.
        file: File name for error messages.

    Returns:
        The document.

    Raises:
        ConfigError: If the text is not YAML or not a mapping.
    """
    try:
        node = yaml.compose(text, Loader=Loader)
        reader = _Reader(file)
        data = reader.read_value(node, ()) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise _build_error(file, line, f"is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise _build_error(file, None, f"is not YAML: {' '.join(str(error).split())}") from None
    except TooManyValues as found:
        raise _build_error(file, found.args[0], f"has more than {MAX_VALUES:,} values") from None
    except RecursionError:
        raise _build_error(file, None, "is nested too deeply") from None
    if data is None:
        raise _build_error(file, 1, "is empty")
    if not isinstance(data, dict):
        raise _build_error(file, 1, "must be a mapping of keys to values")
    if reader.problems:
        raise ConfigError(reader.problems)
    return Document(file, data, reader.lines, text, written=reader.written)


def parse_value(text: str, file: str) -> Document:
    """Parse the value of a command-line override such as `-o trainer.epochs=5`.

    Args:
        text: The value, as YAML in one line.
        file: Name of the option for error messages.

    Returns:
        A document whose only key is `value`.

    Raises:
        ConfigError: If the text is not YAML in one line.
    """
    if "\n" in text or "\r" in text:
        raise _build_error(file, None, "a value on the command line must be one line")
    return parse(f"value: {text}" if text.strip() else "value: ''", file)


def dump(data: Mapping[str, Any]) -> str:
    """Format plain data as YAML that `parse` reads back unchanged.

    Args:
        data: Plain data.

    Returns:
        YAML in block style.

    Raises:
        yaml.YAMLError: If the data has other objects than plain data.
    """
    return yaml.dump(dict(data), Dumper=Dumper, sort_keys=False, allow_unicode=True)


def dump_inline(data: Mapping[str, Any]) -> str:
    """Format plain data as YAML in one line, for example `{low: 1, high: 2}`."""
    text = yaml.dump(
        dict(data),
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=True,
        width=10**6,
    )
    return " ".join(text.split())


def build_document(data: Mapping[str, Any], name: str) -> Document:
    """Build a document without line numbers from Python data.

    Args:
        data: Plain data.
        name: Name of the data for error messages.

    Returns:
        The document.

    Raises:
        ConfigError: If the data has other objects than plain data, or is no valid document.
    """
    try:
        text = dump(data)
    except yaml.YAMLError as error:
        raise _build_error(name, None, f"is not plain data: {error}") from None
    return replace(parse(text, name), lines={})


def _build_error(file: str, line: int | None, message: str) -> ConfigError:
    return ConfigError([Problem(SourceLocation(file, line), message)])


def _parse_integer(text: str) -> int:
    """Parse an integer that databases can store.

    The limit also keeps numbers of thousands of digits out of messages: Python refuses to print
    them.
    """
    number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if abs(number) >= INTEGER_LIMIT:
        raise ValueError("a number that no database can store")
    return number


def _is_merge(key: yaml.ScalarNode) -> bool:
    """Return True if a key is YAML's merge key; a quoted `<<` is an ordinary key."""
    return key.value == MERGE_KEY and key.style is None


class _Reader:
    """Conversion of YAML nodes to plain data, which collects line numbers and problems."""

    def __init__(self, file: str, seen: int = 0):
        self.file = file
        self.lines: dict[KeyPath, int] = {}
        self.written: dict[KeyPath, str] = {}
        self.problems: list[Problem] = []
        self.seen = seen

    def read_value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.seen += 1
        if self.seen > MAX_VALUES:
            raise TooManyValues(node.start_mark.line + 1)
        if node.tag.removeprefix(STANDARD) not in KINDS:
            self._add_problem(node.start_mark.line + 1, path, f"tag {node.tag!r} is not allowed")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = item.start_mark.line + 1
                items.append(self.read_value(item, (*path, index)))
            return items
        return self._read_scalar(node, path)

    def _read_mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        own = {
            key.value
            for key, _ in node.value
            if isinstance(key, yaml.ScalarNode) and not _is_merge(key)
        }
        merged_in: int | None = None
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._add_problem(line, path, "a key must be text")
                continue
            if _is_merge(key_node):
                if merged_in is not None:
                    self._add_problem(
                        line, path, f"{MERGE_KEY!r} is given twice, first in line {merged_in}"
                    )
                    continue
                merged_in = line
                self._merge(value_node, line, path, own, result)
                continue
            key = key_node.value
            if not self._is_text(key, line, path):
                continue
            if key in result:
                first = self.lines[(*path, key)]
                self._add_problem(line, path, f"{key!r} is given twice, first in line {first}")
                continue
            self.lines[(*path, key)] = line
            result[key] = self.read_value(value_node, (*path, key))
        return result

    def _merge(
        self, node: yaml.Node, line: int, path: KeyPath, own: set[str], result: dict[str, Any]
    ) -> None:
        """Add the entries of the mappings that a merge key names.

        Keys of the mapping itself take precedence over merged ones, and earlier mappings of a list
        over later ones. Each entry keeps the line where it is written.
        """
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                form = f"a mapping or a list of mappings, for instance {MERGE_KEY}: *name"
                self._add_problem(line, path, f"{MERGE_KEY!r} takes {form}")
                return
            reader = _Reader(self.file, self.seen)
            entries = reader.read_value(part, path)
            self.seen = reader.seen
            self.problems += reader.problems
            taken = {key for key in entries if key not in own and key not in result}
            result |= {key: value for key, value in entries.items() if key in taken}
            depth = len(path)
            self.lines |= {at: line for at, line in reader.lines.items() if at[depth] in taken}
            self.written |= {at: text for at, text in reader.written.items() if at[depth] in taken}

    def _read_scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        kind = node.tag.removeprefix(STANDARD)
        text = node.value
        if kind != "str":
            self.written[path] = text
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() == "true"
            if kind == "int":
                return _parse_integer(text)
            if kind == "float":
                return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
        except ValueError:
            self._add_problem(
                node.start_mark.line + 1, path, f"{text[:40]!r} is not a number that can be used"
            )
            return None
        return text if self._is_text(text, node.start_mark.line + 1, path) else None

    def _is_text(self, text: str, line: int, path: KeyPath) -> bool:
        """Return True if a text can be printed and written again, which escapes can prevent."""
        if is_printable(text):
            return True
        self._add_problem(line, path, f"{text[:40]!r} has characters that cannot be shown")
        return False

    def _add_problem(self, line: int, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(SourceLocation(self.file, line, format_path(path)), message))
