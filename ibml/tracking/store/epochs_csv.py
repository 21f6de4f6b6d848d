"""A trial's epochs as a file that a spreadsheet opens."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence

EPOCHS_FILE = "epochs.csv"


def format_epochs(rows: Sequence[Mapping[str, float]]) -> str:
    """A line for every epoch: `epoch`, then the metrics by name, with all digits. What an epoch has not is empty."""
    names = sorted({name for row in rows for name in row} - {"epoch"})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *names])
    writer.writerows(
        [int(row["epoch"]), *(repr(float(row[name])) if name in row else "" for name in names)]
        for row in rows
    )
    return text.getvalue()


def parse_epochs(text: str, metrics: Collection[str] | None = None) -> dict[str, list[float]]:
    """Metric -> its value in every epoch, NaN where it has none; only these metrics, as far as they are there."""
    header, *lines = csv.reader(io.StringIO(text))
    wanted = [
        (at, name) for at, name in enumerate(header) if at and (metrics is None or name in metrics)
    ]
    return {
        name: [float(line[at]) if line[at] else math.nan for line in lines] for at, name in wanted
    }
