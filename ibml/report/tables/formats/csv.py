"""Tables as comma-separated values."""

from __future__ import annotations

import pandas as pd

from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.table import Table


class CsvFormat(TableFormat):
    """CSV with a header and one row per data set, arm and metric, at full precision."""

    def render_table(self, table: Table) -> str:
        """Render the cells of a table."""
        return table.build_frame().to_csv(index=False, lineterminator="\n")

    def render_listing(self, listing: Listing) -> str:
        """Render the flat rows of a listing."""
        return pd.DataFrame(list(listing.rows)).to_csv(index=False, lineterminator="\n")
