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
    """A single table, and the same content for formats that programs read.

    Attributes:
        spec: Title, columns and rows for readers.
        label: Label of the table in a document.
        rows: Flat rows for CSV.
        records: Structured content for JSON.
    """

    spec: TableSpec
    label: str
    rows: Sequence[Mapping[str, Any]]
    records: Sequence[Mapping[str, Any]]


class TableFormat(ABC):
    r"""A format in which tables are written. The same content gives the same bytes.

    Example:
        >>> class TitleFormat(TableFormat):
        ...     def render_table(self, table: Table) -> str:
        ...         return "".join(f"{spec.title}\n" for spec in build_table_specs(table))
        ...
        ...     def render_listing(self, listing: Listing) -> str:
        ...         return f"{listing.spec.title}\n"
    """

    @abstractmethod
    def render_table(self, table: Table) -> str:
        """Render the table of a study with its caption and notes.

        `ibml.report.tables.layout.build_table_specs` lays the table out.

        Args:
            table: The table.

        Returns:
            Text that ends in a newline.
        """

    @abstractmethod
    def render_listing(self, listing: Listing) -> str:
        """Render a single table, for example that of `ibml table --tuning`.

        Args:
            listing: The table for readers and for programs.

        Returns:
            Text that ends in a newline.
        """
