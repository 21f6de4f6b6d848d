"""Grids in Markdown."""

from __future__ import annotations

import re

from ibml.report.tables.table_spec import Entry, Grid


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
