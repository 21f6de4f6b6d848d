"""Grids for a terminal, and what it would show as plain text."""

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
from ibml.report.tables.table_spec import Entry, TableSpec

_STYLES = {"best": "bold", "second": "underline", "": ""}


def build_rich_table(grid: TableSpec) -> RichTable:
    """A grid in which names fold before numbers where the terminal is narrow: best bold, second underlined."""
    made = RichTable(
        title=Text(grid.title, style="bold") if grid.title else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    marks = [
        max((len(row[i].marks) for row in grid.entries), default=0)
        for i in range(len(grid.columns))
    ]
    for column in grid.columns:
        heading = Text(column.heading)
        match column.kind:
            case "name" | "words":
                made.add_column(heading, overflow="fold")
            case "mark":
                made.add_column(heading, justify="center", overflow="fold")
            case _:
                made.add_column(heading, justify="right", min_width=8, overflow="fold")
    for row in grid.rows:
        if isinstance(row, str):
            made.add_section()
            made.add_row(Text(row, style="italic"))
        else:
            made.add_row(
                *(_format_entry(entry, width) for entry, width in zip(row, marks, strict=True))
            )
    return made


def _format_entry(entry: Entry, marks: int) -> Text:
    tail = f" {entry.marks:{marks}}" if marks else ""
    return Text(f"{entry.text}{tail}", style=_STYLES[entry.emphasis])


def render_plain_text(content: RenderableType) -> str:
    """What a terminal of 120 columns without colours shows."""
    stream = io.StringIO()
    Console(
        file=stream, width=120, no_color=True, force_terminal=False, markup=False, emoji=False
    ).print(content)
    return re.sub(r"[ ]+\n", "\n", stream.getvalue())


def build_rich_group(table: Table) -> Group:
    """The table for a terminal: best bold, second underlined."""
    caption = [Text(table.study.table.caption)] if table.study.table.caption else []
    return Group(
        *caption,
        *map(build_rich_table, build_table_specs(table)),
        *(Text(line) for line in table.notes),
    )


class TextFormat(TableFormat):
    """Plain text, 120 columns wide."""

    def render_table(self, table: Table) -> str:
        return render_plain_text(build_rich_group(table))

    def render_listing(self, listing: Listing) -> str:
        return render_plain_text(build_rich_table(listing.grid))
