"""Versions of a name (`NAME`, `NAME v2`, `NAME v3`) and messages about their differences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_LINES = 12
"""Maximum number of changes in a message."""


def parse_version_number(name: str) -> int:
    """Return the version number of a name: 1 for `NAME`, 2 for `NAME v2`."""
    found = re.search(r" v(\d+)$", name)
    return int(found[1]) if found else 1


def select_versions(name: str, names: Iterable[str]) -> list[str]:
    """Return the elements of `names` that are versions of `name`, oldest version first."""
    pattern = re.compile(rf"{re.escape(name)}( v\d+)?")
    return sorted(filter(pattern.fullmatch, names), key=parse_version_number)


def get_next_version(name: str, known: Sequence[str]) -> str:
    """Return the name of the next version.

    Args:
        name: Name of the first version.
        known: Known versions, sorted by version number.

    Returns:
        The first version if none is known, or the one after the last.
    """
    return f"{name} v{parse_version_number(known[-1]) + 1}" if known else name


def format_change(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe the change of one value, for example `trainer.epochs: 2 -> 3`.

    Args:
        path: Dotted path of the value.
        before: Earlier values by dotted path.
        now: Present values by dotted path.

    Returns:
        One line; a missing value is shown as `nothing`.
    """
    return f"{path}: {_format_value(before, path)} -> {_format_value(now, path)}"


def find_changed_paths(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the dotted paths whose values differ between two flat configurations."""
    return [path for path in dict.fromkeys([*before, *now]) if before.get(path) != now.get(path)]


def format_refusal(head: str, changes: Sequence[str], advice: str) -> str:
    """Return an error message that lists changes, at most `MOST_LINES` of them.

    Args:
        head: First line.
        changes: One line per change.
        advice: Last line: the action to take.

    Returns:
        The lines of the message, joined.
    """
    lines = [f"  {change}" for change in changes[:MOST_LINES]]
    if len(changes) > MOST_LINES:
        lines.append(f"  and {len(changes) - MOST_LINES} more")
    return "\n".join([head, *lines, advice])


def _format_value(flat: Mapping[str, Any], path: str) -> str:
    return json.dumps(flat[path]) if path in flat else "nothing"
