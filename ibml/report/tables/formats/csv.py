"""Tables as comma-separated values, a row per data set, arm and metric."""

from __future__ import annotations

import pandas as pd

from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.table import Table


class CsvFormat(TableFormat):
    """CSV with one header row."""

    def render_table(self, table: Table) -> str:
        return table.build_frame().to_csv(index=False, lineterminator="\n")

    def render_listing(self, listing: Listing) -> str:
        return pd.DataFrame(list(listing.rows)).to_csv(index=False, lineterminator="\n")
