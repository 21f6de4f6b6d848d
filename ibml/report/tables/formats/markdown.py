"""Grids in Markdown."""

from __future__ import annotations

import re

from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.layout import build_table_specs
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import Entry, TableSpec, capitalize_first


def render_markdown_table(grid: TableSpec) -> str:
    """A table without its title."""
    header = [escape_markdown(column.heading) for column in grid.columns]
    lines = [header, ["---"] * len(header)]
    for row in grid.rows:
        if isinstance(row, str):
            lines.append([f"*{escape_markdown(row)}*", *[""] * (len(header) - 1)])
        else:
            lines.append(list(map(_format_cell, row)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escape_markdown(text: str) -> str:
    """A text in which nothing is read as Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", text).replace("\n", " ")


def format_code(text: str) -> str:
    """A text as code, also in a cell."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`".replace("|", "\\|")


def _format_cell(entry: Entry) -> str:
    text = escape_markdown(entry.text)
    if entry.emphasis:
        text = f"**{text}**" if entry.emphasis == "best" else f"<u>{text}</u>"
    return f"{text} {escape_markdown(entry.marks)}" if entry.marks else text


class MarkdownFormat(TableFormat):
    """Markdown tables."""

    def render_table(self, table: Table) -> str:
        caption = table.study.table.caption or table.study.description
        parts = [
            f"**{escape_markdown(table.name)}**"
            + (f": {escape_markdown(caption)}\n" if caption else "\n")
        ]
        for grid in build_table_specs(table):
            title = grid.title.removeprefix(f"{table.name}: ")
            heading = (
                "" if title == table.name else f"{escape_markdown(capitalize_first(title))}:\n\n"
            )
            parts.append(heading + render_markdown_table(grid))
        return (
            "\n".join(parts)
            + "\n"
            + "\n".join(f"{escape_markdown(line)}  " for line in table.notes)
            + "\n"
        )

    def render_listing(self, listing: Listing) -> str:
        return render_markdown_table(listing.grid)
