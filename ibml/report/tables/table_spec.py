"""A table laid out but not yet written in any format: columns, rows, and how each entry stands out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ibml.statistics.paired import Summary

MISSING = "–"
ColumnKind = Literal["name", "mark", "measure", "number", "words"]
"""What a column has: names, check marks, means with their spread, single numbers, or words."""


Emphasis = Literal["", "best", "second"]


@dataclass(frozen=True)
class Column:
    heading: str
    kind: ColumnKind = "number"


@dataclass(frozen=True)
class Entry:
    """`text` as a person reads it; `summary` where it is a mean with its spread, to `digits` decimals; `value` is
    what a page sorts by, `link` where it leads to."""

    text: str
    emphasis: Emphasis = ""
    marks: str = ""
    value: float | None = None
    summary: Summary | None = None
    digits: int = 2
    link: str | None = None


Row = tuple[Entry, ...]


@dataclass(frozen=True)
class TableSpec:
    """A title, columns and rows; a row that is a text is a heading over those that follow."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row | str, ...]

    @property
    def entries(self) -> list[Row]:
        """The rows that are no headings."""
        return [row for row in self.rows if not isinstance(row, str)]


def capitalize_first(text: str) -> str:
    """A text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def format_confidence_level(alpha: float) -> str:
    """The level of an interval: `95 %` where alpha is 0.05."""
    return f"{100 * (1 - alpha):g} %"


def format_number(value: float | None, digits: int = 2) -> str:
    return (
        MISSING
        if value is None or not math.isfinite(value)
        else _remove_minus_zero(f"{value:.{digits}f}")
    )


def format_signed(value: float | None, digits: int = 2) -> str:
    return MISSING if value is None or not math.isfinite(value) else f"{value:+.{digits}f}"


def format_p_value(value: float | None) -> str:
    return MISSING if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _remove_minus_zero(text: str) -> str:
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def format_mean(summary: Summary, digits: int = 2) -> str:
    """A mean and its standard deviation."""
    if summary.sd is None:
        return format_number(summary.mean, digits)
    return f"{format_number(summary.mean, digits)} ± {format_number(summary.sd, digits)}"


def build_mean_entry(
    summary: Summary, digits: int, emphasis: Emphasis = "", marks: str = ""
) -> Entry:
    return Entry(format_mean(summary, digits), emphasis, marks, summary.mean, summary, digits)


def build_number_entry(value: float | None, digits: int = 2) -> Entry:
    return Entry(format_number(value, digits), value=value)


def build_signed_entry(value: float | None, digits: int = 2) -> Entry:
    return Entry(format_signed(value, digits), value=value)


def build_p_value_entry(value: float | None) -> Entry:
    return Entry(format_p_value(value), value=value)


def build_range_entry(low: float | None, high: float | None, digits: int = 2) -> Entry:
    """Ends that are sizes and need no sign."""
    return Entry(
        MISSING
        if low is None
        else f"[{format_number(low, digits)}, {format_number(high, digits)}]",
        value=low,
    )


def build_interval_entry(low: float | None, high: float | None, digits: int = 2) -> Entry:
    return Entry(
        MISSING
        if low is None
        else f"[{format_signed(low, digits)}, {format_signed(high, digits)}]",
        value=low,
    )
