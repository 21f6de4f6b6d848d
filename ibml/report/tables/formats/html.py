"""Grids in HTML: what stands alone, and what a page is made of."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ibml.common.sanitize import strip_control_characters
from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.layout import build_table_specs
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import TableSpec


@cache
def get_environment() -> Environment:
    """Templates of this package; every text is escaped, and shows nothing but itself."""
    folder = files("ibml.report") / "templates"
    return Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        finalize=lambda value: strip_control_characters(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_html_table(grid: TableSpec) -> str:
    """One grid as a `table` element."""
    return str(get_environment().get_template("grid.html").module.grid(grid)).strip() + "\n"  # type: ignore[attr-defined]


class HtmlFormat(TableFormat):
    """A part of a page: the table's grids and its foot, without style."""

    def render_table(self, table: Table) -> str:
        caption = table.study.table.caption or table.study.description
        return (
            get_environment()
            .get_template("table.html")
            .render(grids=build_table_specs(table), foot=table.notes, caption=caption)
        )

    def render_listing(self, listing: Listing) -> str:
        return render_html_table(listing.grid)
