"""Tables as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

from ibml.report.tables.analysis import Analysis
from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.table import Table


class JsonFormat(TableFormat):
    """JSON with everything that a table says, in full precision."""

    def render_table(self, table: Table) -> str:
        content = {
            "study": table.name,
            "description": table.study.description,
            "reference": table.study.reference,
            "design": table.study.design.model_dump(mode="json"),
            "unfinished": table.unfinished,
            "rows": table.frame().to_dict("records"),
            "average_ranks": {metric: found.ranks for metric, found in table.ranks.items()},
            "analyses": list(map(_plain_analysis, table.analyses)),
            "foot": table.foot,
        }
        return json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def render_listing(self, listing: Listing) -> str:
        return json.dumps(list(listing.records), indent=1, ensure_ascii=False) + "\n"


def _plain_analysis(analysis: Analysis) -> dict[str, object]:
    return {**asdict(analysis), "metric": analysis.metric.name}


def _plain(value: object) -> object:
    """JSON has no NaN, which is what pandas makes of None in a column of numbers."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(_plain, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value
