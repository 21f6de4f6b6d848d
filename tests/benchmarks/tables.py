"""Tables of measurements."""

from __future__ import annotations

from collections.abc import Iterable

Row = tuple[str, str, str]
"""Measure, its value, and its target."""


def markdown(rows: Iterable[Row]) -> str:
    """Return a Markdown table of measurements."""
    lines = ["| measure | value | target |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {figure} | {goal} |" for what, figure, goal in rows)])
