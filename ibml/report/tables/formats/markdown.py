"""Grids in Markdown."""

from __future__ import annotations

import re

from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.layout import grids
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import Entry, Grid, capital


def markdown_grid(grid: Grid) -> str:
    """A table without its title."""
    header = [escaped(column.heading) for column in grid.columns]
    lines = [header, ["---"] * len(header)]
    for row in grid.rows:
        if isinstance(row, str):
            lines.append([f"*{escaped(row)}*", *[""] * (len(header) - 1)])
        else:
            lines.append(list(map(_cell, row)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escaped(text: str) -> str:
    """A text in which nothing is read as Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", text).replace("\n", " ")


def code(text: str) -> str:
    """A text as code, also in a cell."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`".replace("|", "\\|")


def _cell(entry: Entry) -> str:
    text = escaped(entry.text)
    if entry.emphasis:
        text = f"**{text}**" if entry.emphasis == "best" else f"<u>{text}</u>"
    return f"{text} {escaped(entry.marks)}" if entry.marks else text


class MarkdownFormat(TableFormat):
    """Markdown tables."""

    def render_table(self, table: Table) -> str:
        caption = table.study.table.caption or table.study.description
        parts = [f"**{escaped(table.name)}**" + (f": {escaped(caption)}\n" if caption else "\n")]
        for grid in grids(table):
            title = grid.title.removeprefix(f"{table.name}: ")
            heading = "" if title == table.name else f"{escaped(capital(title))}:\n\n"
            parts.append(heading + markdown_grid(grid))
        return "\n".join(parts) + "\n" + "\n".join(f"{escaped(line)}  " for line in table.foot) + "\n"

    def render_listing(self, listing: Listing) -> str:
        return markdown_grid(listing.grid)
