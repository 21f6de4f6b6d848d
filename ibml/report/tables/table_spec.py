"""Tables laid out but not yet rendered: columns, rows and entries, the same for every format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ibml.statistics.paired import Summary

MISSING = "–"
"""Text of an entry without a value."""
ColumnKind = Literal["name", "mark", "measure", "number", "words"]
"""Content of a column: names, check marks, means with their spread, single numbers, or words."""

Emphasis = Literal["", "best", "second"]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: Text of its head.
        kind: Kind of its entries; determines their alignment.
    """

    heading: str
    kind: ColumnKind = "number"


@dataclass(frozen=True)
class Entry:
    """An entry of a table.

    Attributes:
        text: Text for readers.
        emphasis: `best` (bold), `second` (underlined) or none.
        marks: Superscript marks, for example `*`.
        value: Number by which a page sorts the entry.
        summary: Mean and spread, if the entry shows them.
        digits: Decimals of `summary`.
        link: Address that the entry links to.
    """

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
    """A table with title, columns and rows, independent of any format.

    Attributes:
        title: Title; may be empty.
        columns: Columns from left to right.
        rows: Rows from top to bottom. A string is a heading over the rows that follow.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row | str, ...]

    @property
    def entries(self) -> list[Row]:
        """Rows without the headings."""
        return [row for row in self.rows if not isinstance(row, str)]


def capitalize_first(text: str) -> str:
    """Return a text with its first letter in upper case and the others unchanged."""
    return text[:1].upper() + text[1:]


def format_confidence_level(alpha: float) -> str:
    """Return the confidence level of an interval: `95 %` for an alpha of 0.05."""
    return f"{100 * (1 - alpha):g} %"


def format_number(value: float | None, digits: int = 2) -> str:
    """Return a number with fixed decimals and no negative zero; `MISSING` if it is not finite."""
    if value is None or not math.isfinite(value):
        return MISSING
    return _remove_minus_zero(f"{value:.{digits}f}")


def format_signed(value: float | None, digits: int = 2) -> str:
    """Return a number with its sign and fixed decimals; `MISSING` if it is not finite."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:+.{digits}f}"


def format_p_value(value: float | None) -> str:
    """Return a p-value with three decimals, or `< 0.001`; `MISSING` for None."""
    if value is None:
        return MISSING
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}"


def _remove_minus_zero(text: str) -> str:
    if text.startswith("-") and not text.strip("-0."):
        return text[1:]
    return text


def format_mean(summary: Summary, digits: int = 2) -> str:
    """Return `mean ± standard deviation`, or the mean alone where there is no deviation."""
    if summary.sd is None:
        return format_number(summary.mean, digits)
    return f"{format_number(summary.mean, digits)} ± {format_number(summary.sd, digits)}"


def build_mean_entry(
    summary: Summary, digits: int, emphasis: Emphasis = "", marks: str = ""
) -> Entry:
    """Return the entry of a mean with its standard deviation.

    Args:
        summary: Mean and standard deviation.
        digits: Decimals of both.
        emphasis: Emphasis of the entry.
        marks: Superscript marks.

    Returns:
        An entry that sorts by the mean.
    """
    return Entry(format_mean(summary, digits), emphasis, marks, summary.mean, summary, digits)


def build_number_entry(value: float | None, digits: int = 2) -> Entry:
    """Return the entry of a number without sign."""
    return Entry(format_number(value, digits), value=value)


def build_signed_entry(value: float | None, digits: int = 2) -> Entry:
    """Return the entry of a number with its sign."""
    return Entry(format_signed(value, digits), value=value)


def build_p_value_entry(value: float | None) -> Entry:
    """Return the entry of a p-value."""
    return Entry(format_p_value(value), value=value)


def build_range_entry(low: float | None, high: float | None, digits: int = 2) -> Entry:
    """Return the entry of an interval whose ends have no sign, for example of a size.

    Args:
        low: Lower end; None for no interval.
        high: Upper end.
        digits: Decimals of the ends.

    Returns:
        An entry that sorts by the lower end.
    """
    if low is None:
        return Entry(MISSING)
    return Entry(f"[{format_number(low, digits)}, {format_number(high, digits)}]", value=low)


def build_interval_entry(low: float | None, high: float | None, digits: int = 2) -> Entry:
    """Return the entry of an interval whose ends have signs, for example of a difference.

    Args:
        low: Lower end; None for no interval.
        high: Upper end.
        digits: Decimals of the ends.

    Returns:
        An entry that sorts by the lower end.
    """
    if low is None:
        return Entry(MISSING)
    return Entry(f"[{format_signed(low, digits)}, {format_signed(high, digits)}]", value=low)
