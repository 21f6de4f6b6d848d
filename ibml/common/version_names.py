"""Versions of a name: `NAME`, `NAME v2`, `NAME v3`, and what differs between two of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_LINES = 12


def parse_version_number(name: str) -> int:
    """Return the number of a version: 1 for `NAME`, 2 for `NAME v2`."""
    found = re.search(r" v(\d+)$", name)
    return int(found[1]) if found else 1


def select_versions(name: str, names: Iterable[str]) -> list[str]:
    """Return those names that are versions of a name, the oldest version first."""
    pattern = re.compile(rf"{re.escape(name)}( v\d+)?")
    return sorted(filter(pattern.fullmatch, names), key=parse_version_number)


def get_next_version(name: str, known: Sequence[str]) -> str:
    """Return the name of the version that follows the known ones, which are sorted by version."""
    return f"{name} v{parse_version_number(known[-1]) + 1}" if known else name


def format_change(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe the change of one value: `trainer.epochs: 2 -> 3`."""
    return f"{path}: {_format_value(before, path)} -> {_format_value(now, path)}"


def find_changed_paths(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the dotted paths whose values differ."""
    return [path for path in dict.fromkeys([*before, *now]) if before.get(path) != now.get(path)]


def format_refusal(head: str, changes: Sequence[str], advice: str) -> str:
    """Return a message that lists what has changed, shortened, between its head and what to do."""
    lines = [f"  {change}" for change in changes[:MOST_LINES]]
    more = [f"  and {len(changes) - MOST_LINES} more"] if len(changes) > MOST_LINES else []
    return "\n".join([head, *lines, *more, advice])


def _format_value(flat: Mapping[str, Any], path: str) -> str:
    return json.dumps(flat[path]) if path in flat else "nothing"
