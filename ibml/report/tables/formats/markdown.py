"""Tables in Markdown."""

from __future__ import annotations

import re

from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.layout import build_table_specs
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import Entry, TableSpec, capitalize_first


def render_markdown_table(spec: TableSpec) -> str:
    """Render one table without its title."""
    header = [escape_markdown(column.heading) for column in spec.columns]
    lines = [header, ["---"] * len(header)]
    for row in spec.rows:
        if isinstance(row, str):
            lines.append([f"*{escape_markdown(row)}*", *[""] * (len(header) - 1)])
        else:
            lines.append(list(map(_format_cell, row)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def escape_markdown(text: str) -> str:
    """Escape everything in a text that Markdown or HTML would interpret."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", text).replace("\n", " ")


def format_code(text: str) -> str:
    """Return a text as inline code that is valid in a table cell too."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`".replace("|", "\\|")


def _format_cell(entry: Entry) -> str:
    text = escape_markdown(entry.text)
    if entry.emphasis == "best":
        text = f"**{text}**"
    elif entry.emphasis == "second":
        text = f"<u>{text}</u>"
    if entry.marks:
        text += f" {escape_markdown(entry.marks)}"
    return text


class MarkdownFormat(TableFormat):
    """GitHub-flavored Markdown with title, caption, tables and notes."""

    def render_table(self, table: Table) -> str:
        """Render title, caption, tables and notes."""
        first_line = f"**{escape_markdown(table.name)}**"
        caption = table.study.table.caption or table.study.description
        if caption:
            first_line += f": {escape_markdown(caption)}"
        parts = [first_line + "\n"]
        for spec in build_table_specs(table):
            title = spec.title.removeprefix(f"{table.name}: ")
            heading = ""
            if title != table.name:
                heading = f"{escape_markdown(capitalize_first(title))}:\n\n"
            parts.append(heading + render_markdown_table(spec))
        notes = "\n".join(f"{escape_markdown(note)}  " for note in table.notes)
        return "\n".join(parts) + "\n" + notes + "\n"

    def render_listing(self, listing: Listing) -> str:
        """Render the table of a listing."""
        return render_markdown_table(listing.spec)
