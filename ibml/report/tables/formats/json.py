"""Tables as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

from ibml.report.tables.analysis import Analysis
from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.table import Table


class JsonFormat(TableFormat):
    """JSON with the whole content of a table at full precision."""

    def render_table(self, table: Table) -> str:
        """Render study, cells, ranks, analyses and notes."""
        content = {
            "study": table.name,
            "description": table.study.description,
            "reference": table.study.reference,
            "design": table.study.design.model_dump(mode="json"),
            "unfinished": table.unfinished,
            "rows": table.build_frame().to_dict("records"),
            "average_ranks": {metric: ranks.ranks for metric, ranks in table.ranks.items()},
            "analyses": list(map(_convert_analysis, table.analyses)),
            "foot": table.notes,
        }
        text = json.dumps(_convert_value(content), indent=1, ensure_ascii=False, allow_nan=False)
        return text + "\n"

    def render_listing(self, listing: Listing) -> str:
        """Render the records of a listing."""
        return json.dumps(list(listing.records), indent=1, ensure_ascii=False) + "\n"


def _convert_analysis(analysis: Analysis) -> dict[str, object]:
    return {**asdict(analysis), "metric": analysis.metric.name}


def _convert_value(value: object) -> object:
    """Convert a value to JSON's types.

    Numbers that are not finite become null: JSON has no NaN, and pandas stores None in a column of
    numbers as NaN.
    """
    if isinstance(value, dict):
        return {str(key): _convert_value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(_convert_value, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
