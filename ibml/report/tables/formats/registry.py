"""All table formats, one line each.

Classes are named by text, so that listing the choices of `--format` imports no format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ibml.common.imports import load_object

if TYPE_CHECKING:
    from ibml.report.tables.formats.base import TableFormat


@dataclass(frozen=True)
class FormatSpec:
    """A registered table format.

    Attributes:
        extension: File extension without the dot.
        target: `module:Class` of the `TableFormat`.
    """

    extension: str
    target: str


_FORMATS = "ibml.report.tables.formats"

FORMATS: dict[str, FormatSpec] = {
    "text": FormatSpec("txt", f"{_FORMATS}.text:TextFormat"),
    "markdown": FormatSpec("md", f"{_FORMATS}.markdown:MarkdownFormat"),
    "latex": FormatSpec("tex", f"{_FORMATS}.latex:LatexFormat"),
    "csv": FormatSpec("csv", f"{_FORMATS}.csv:CsvFormat"),
    "json": FormatSpec("json", f"{_FORMATS}.json:JsonFormat"),
    "html": FormatSpec("html", f"{_FORMATS}.html:HtmlFormat"),
}
"""Value of `--format` -> format. The files of a report are written in this order."""

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = Literal[tuple(FORMATS)]


def load_format(name: FormatName) -> TableFormat:
    """Import and return the format with a name."""
    found: TableFormat = load_object(FORMATS[name].target)()
    return found
