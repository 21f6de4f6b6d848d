"""Tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterable

Row = tuple[str, str, str]
"""What, its figure, and the goal."""


def markdown(rows: Iterable[Row]) -> str:
    """A Markdown table."""
    lines = ["| what | figure | goal |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {figure} | {goal} |" for what, figure, goal in rows)])
