"""Tables for a terminal, and the same as plain text."""

from __future__ import annotations

import io
import re

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.layout import build_table_specs
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import Column, Entry, TableSpec

_STYLES = {"best": "bold", "second": "underline", "": ""}


def build_rich_table(spec: TableSpec) -> RichTable:
    """Return a table for Rich: best in bold, second underlined.

    On a narrow terminal, names wrap before numbers do.

    Args:
        spec: The table.

    Returns:
        The renderable.
    """
    table = RichTable(
        title=Text(spec.title, style="bold") if spec.title else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for column in spec.columns:
        _add_column(table, column)
    mark_widths = _measure_marks(spec)
    for row in spec.rows:
        if isinstance(row, str):
            table.add_section()
            table.add_row(Text(row, style="italic"))
        else:
            entries = zip(row, mark_widths, strict=True)
            table.add_row(*(_format_entry(entry, width) for entry, width in entries))
    return table


def _add_column(table: RichTable, column: Column) -> None:
    heading = Text(column.heading)
    match column.kind:
        case "name" | "words":
            table.add_column(heading, overflow="fold")
        case "mark":
            table.add_column(heading, justify="center", overflow="fold")
        case _:
            table.add_column(heading, justify="right", min_width=8, overflow="fold")


def _measure_marks(spec: TableSpec) -> list[int]:
    """Return the width of the widest marks in each column."""
    widths = [0] * len(spec.columns)
    for row in spec.entries:
        for position, entry in enumerate(row):
            widths[position] = max(widths[position], len(entry.marks))
    return widths


def _format_entry(entry: Entry, mark_width: int) -> Text:
    text = entry.text
    if mark_width:
        text += f" {entry.marks:{mark_width}}"
    return Text(text, style=_STYLES[entry.emphasis])


def render_plain_text(content: RenderableType) -> str:
    """Render for a terminal of 120 columns without colors."""
    stream = io.StringIO()
    console = Console(
        file=stream, width=120, no_color=True, force_terminal=False, markup=False, emoji=False
    )
    console.print(content)
    return re.sub(r"[ ]+\n", "\n", stream.getvalue())


def build_rich_group(table: Table) -> Group:
    """Return the caption, tables and notes of a study for Rich."""
    caption = table.study.table.caption
    return Group(
        *([Text(caption)] if caption else []),
        *map(build_rich_table, build_table_specs(table)),
        *map(Text, table.notes),
    )


class TextFormat(TableFormat):
    """Plain text, 120 columns wide."""

    def render_table(self, table: Table) -> str:
        """Render caption, tables and notes."""
        return render_plain_text(build_rich_group(table))

    def render_listing(self, listing: Listing) -> str:
        """Render the table of a listing."""
        return render_plain_text(build_rich_table(listing.spec))
