"""Tables in HTML, alone or as part of a page."""

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
    """Return the Jinja environment of this package's templates.

    It escapes every text, removes control characters, and refuses undefined names.
    """
    folder = files("ibml.report") / "templates"
    return Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _finalize(value: object) -> object:
    """Remove control characters from plain text, but not from markup."""
    return strip_control_characters(value) if type(value) is str else value


def render_html_table(spec: TableSpec) -> str:
    """Render one table as a `table` element."""
    module = get_environment().get_template("table_spec.html").module
    return str(module.render(spec)).strip() + "\n"  # type: ignore[attr-defined]


class HtmlFormat(TableFormat):
    """An HTML fragment without style: caption, tables and notes."""

    def render_table(self, table: Table) -> str:
        """Render caption, tables and notes."""
        template = get_environment().get_template("table.html")
        caption = table.study.table.caption or table.study.description
        return template.render(specs=build_table_specs(table), notes=table.notes, caption=caption)

    def render_listing(self, listing: Listing) -> str:
        """Render the table of a listing."""
        return render_html_table(listing.spec)
