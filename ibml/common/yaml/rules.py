"""Loader and dumper for YAML with the scalar rules of YAML 1.2 and a limit on the number of values.

Source: the core schema of YAML 1.2.2, https://yaml.org/spec/1.2.2/#103-core-schema.
"""

from __future__ import annotations

import re

import yaml

MAX_VALUES = 100_000
"""Maximum number of values in a document, with expanded anchors."""
MERGE_KEY = "<<"

STANDARD = "tag:yaml.org,2002:"
KINDS = ("null", "bool", "int", "float", "str", "seq", "map")


class TooManyValues(Exception):
    """The document has more than `MAX_VALUES` values, counted up to line `args[0]`."""


class Loader(yaml.SafeLoader):
    """SafeLoader with the scalar rules of YAML 1.2's core schema and a limit on its nodes.

    Args:
        stream: Text to load.
    """

    def __init__(self, stream: str):
        super().__init__(stream)
        self.composed = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node; raise `TooManyValues` if the document has too many."""
        self.composed += 1
        if self.composed > MAX_VALUES:
            raise TooManyValues(self.line + 1)
        return super().compose_node(parent, index)


Loader.yaml_implicit_resolvers = {}


class Dumper(yaml.SafeDumper):
    """SafeDumper that quotes text that `Loader` would read as a number, boolean or null."""


Dumper.yaml_implicit_resolvers = {}
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
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(f"{STANDARD}{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
Dumper.add_implicit_resolver(
    f"{STANDARD}merge", re.compile(f"^{MERGE_KEY}$"), ["<"]
)  # so that a key `<<` is quoted
