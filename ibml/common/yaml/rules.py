"""How YAML's scalars are read and written: by the rules of YAML 1.2, and never without end."""

from __future__ import annotations

import re

import yaml

MAX_VALUES = 100_000
MERGE_KEY = "<<"

STANDARD = "tag:yaml.org,2002:"
KINDS = ("null", "bool", "int", "float", "str", "seq", "map")


class TooManyValues(Exception):
    """Found in the line `args[0]`."""


class Loader(yaml.SafeLoader):
    """SafeLoader with the scalar rules of YAML 1.2's core schema, and an end."""

    def __init__(self, stream: str):
        super().__init__(stream)
        self.composed = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.composed += 1
        if self.composed > MAX_VALUES:
            raise TooManyValues(self.line + 1)
        return super().compose_node(parent, index)


Loader.yaml_implicit_resolvers = {}


class Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what `Loader` would take for a number."""


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
