"""YAML files as plain data that remembers the line of every value.

Scalars follow YAML 1.2: `1e-4` is a number, `on` and `no` are text, keys are text. Tags that build
objects, duplicate keys, files over 1 MB and anchors that expand without end are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ibml.config.base import ConfigError, Problem, Source
from ibml.config.printable import is_printable

MAX_BYTES = 1_000_000
MAX_VALUES = 100_000
LARGEST = 2**63

Path_ = tuple[str | int, ...]

_STANDARD = "tag:yaml.org,2002:"
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")


class _TooManyValues(Exception):
    """Found in the line `args[0]`."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalar rules of YAML 1.2's core schema, and an end."""

    def __init__(self, stream: str):
        super().__init__(stream)
        self.composed = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.composed += 1
        if self.composed > MAX_VALUES:
            raise _TooManyValues(self.line + 1)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what `_Loader` would take for a number."""


_Dumper.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
]:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_STANDARD}{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


@dataclass(frozen=True)
class Document:
    """Plain data, for every path in it the line where it stands (none for data from Python), and the text."""

    file: str
    data: dict[str, Any]
    lines: dict[Path_, int] = field(default_factory=dict)
    text: str = ""
    elsewhere: dict[Path_, Source] = field(default_factory=dict)
    """The sources of values that the command line has put into the data."""
    folder: Path | None = None
    """Where the file is, if it is one."""

    def source(self, path: Path_) -> Source:
        """The place of a path, or of the closest ancestor that is in the file."""
        for size in range(len(path), 0, -1):
            if path[:size] in self.elsewhere:
                return self.elsewhere[path[:size]]
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return Source(self.file, self.lines.get(known), dotted(path))


def dotted(path: Path_) -> str:
    """A path as people write it: ("a", "b", 0) -> "a.b[0]"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read(path: Path) -> Document:
    """The document in a file; raises `ConfigError` for one that is no mapping or no YAML."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _refused(str(path), None, f"cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise _refused(str(path), None, f"is too large; a configuration has at most {MAX_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(str(path), raw.count(b"\n", 0, error.start) + 1, "is not UTF-8 text") from None
    return replace(parse(text, str(path)), folder=path.parent)


def parse(text: str, file: str) -> Document:
    """The document in a text; raises `ConfigError` as `read` does."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        reader = _Reader(file)
        data = reader.value(node, ()) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refused(file, mark.line + 1 if mark else None, f"is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise _refused(file, None, f"is not YAML: {' '.join(str(error).split())}") from None
    except _TooManyValues as found:
        raise _refused(file, found.args[0], f"has more than {MAX_VALUES:,} values") from None
    except RecursionError:
        raise _refused(file, None, "is nested too deeply") from None
    if not isinstance(data, dict):
        raise _refused(file, 1, "is empty" if data is None else "must be a mapping of keys to values")
    if reader.problems:
        raise ConfigError(reader.problems)
    return Document(file, data, reader.lines, text)


def parse_value(text: str, file: str) -> Any:
    """One YAML value, as on a command line: `-o trainer.epochs=5`."""
    if "\n" in text or "\r" in text:
        raise _refused(file, None, "a value on the command line is one line")
    return parse(f"value: {text}" if text.strip() else "value: ''", file).data["value"]


def dump(data: Mapping[str, Any]) -> str:
    """Plain data as YAML that `parse` reads back as it was; raises yaml's error for anything else."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def from_mapping(data: Mapping[str, Any], name: str) -> Document:
    """A document from Python data, which has no lines; raises `ConfigError` for more than plain data."""
    try:
        text = dump(data)
    except yaml.YAMLError as error:
        raise _refused(name, None, f"is not plain data: {error}") from None
    return replace(parse(text, name), lines={})


def _refused(file: str, line: int | None, message: str) -> ConfigError:
    return ConfigError([Problem(Source(file, line), message)])


def _whole(text: str) -> int:
    """Python does not show numbers of thousands of digits, not even in an error."""
    number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if abs(number) >= LARGEST:
        raise ValueError("a number that no database keeps")
    return number


class _Reader:
    def __init__(self, file: str):
        self.file = file
        self.lines: dict[Path_, int] = {}
        self.problems: list[Problem] = []
        self.seen = 0

    def value(self, node: yaml.Node, path: Path_) -> Any:
        self.seen += 1
        if self.seen > MAX_VALUES:
            raise _TooManyValues(node.start_mark.line + 1)
        if node.tag.removeprefix(_STANDARD) not in _KINDS:
            self._complain(node.start_mark.line + 1, path, f"tag {node.tag!r} is not allowed")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = item.start_mark.line + 1
                items.append(self.value(item, (*path, index)))
            return items
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(line, path, "a key must be text")
                continue
            key = key_node.value
            if not self._is_text(key, line, path):
                continue
            if key in result:
                first = self.lines[(*path, key)]
                self._complain(line, path, f"{key!r} is given twice, first in line {first}")
                continue
            self.lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.Node, path: Path_) -> Any:
        kind, text = node.tag.removeprefix(_STANDARD), node.value
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() == "true"
            if kind == "int":
                return _whole(text)
            if kind == "float":
                return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
        except ValueError:
            self._complain(node.start_mark.line + 1, path, f"{text[:40]!r} is not a number that can be used")
            return None
        return text if self._is_text(text, node.start_mark.line + 1, path) else None

    def _is_text(self, text: str, line: int, path: Path_) -> bool:
        """Whether it can be shown and written again, which escapes can prevent."""
        if is_printable(text):
            return True
        self._complain(line, path, f"{text[:40]!r} has characters that cannot be shown")
        return False

    def _complain(self, line: int, path: Path_, message: str) -> None:
        self.problems.append(Problem(Source(self.file, line, dotted(path)), message))
