"""Base class of table formats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import TableSpec


@dataclass(frozen=True)
class Listing:
    """A single grid, and the same content for formats that programs read.

    Attributes:
        grid: Title, columns and rows for readers.
        label: Label of the grid in a document.
        rows: Flat rows for tables of data.
        records: The content with its structure, as JSON takes it.
    """

    grid: TableSpec
    label: str
    rows: Sequence[Mapping[str, Any]]
    records: Sequence[Mapping[str, Any]]


class TableFormat(ABC):
    """A format in which tables are written. The same content gives the same bytes, ending in a newline.

    Example:
        >>> class TitleFormat(TableFormat):
        ...     def render_table(self, table: Table) -> str:
        ...         return "".join(f"{grid.title}\\n" for grid in grids(table))
        ...
        ...     def render_listing(self, listing: Listing) -> str:
        ...         return f"{listing.grid.title}\\n"
    """

    @abstractmethod
    def render_table(self, table: Table) -> str:
        """Return a study's table with its caption and notes; `ibml.report.tables.layout.build_table_specs` lays it out."""

    @abstractmethod
    def render_listing(self, listing: Listing) -> str:
        """Return a single grid, for example that of `ibml table --tuning`."""
