"""The table of a study in every format. The same results give the same bytes."""

from __future__ import annotations

from ibml.report.tables.formats.registry import FORMATS, FormatName, load_format
from ibml.report.tables.table import Table


def render(table: Table, form: FormatName) -> str:
    """Return the table in a format, ending in a newline."""
    return load_format(form).render_table(table)


def render_files(table: Table) -> dict[str, str | bytes]:
    """Return the table in every format, keyed by file name."""
    return {f"table.{spec.extension}": render(table, form) for form, spec in FORMATS.items()}
