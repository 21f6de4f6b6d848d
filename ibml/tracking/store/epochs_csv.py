"""Metrics per epoch as a CSV file, an artifact of every trial that has ended."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence

EPOCHS_FILE = "epochs.csv"


def format_epochs(rows: Sequence[Mapping[str, float]]) -> str:
    """Return rows of metrics as CSV: a column `epoch`, then the metrics by name, with all digits.

    Args:
        rows: One row per epoch, which contains its number as `epoch`.

    Returns:
        The text; a cell is empty if its epoch does not have the metric.
    """
    names = {name for row in rows for name in row}
    names.discard("epoch")
    columns = sorted(names)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *columns])
    for row in rows:
        cells = [repr(float(row[name])) if name in row else "" for name in columns]
        writer.writerow([int(row["epoch"]), *cells])
    return text.getvalue()


def parse_epochs(text: str, metrics: Collection[str] | None = None) -> dict[str, list[float]]:
    """Return the metrics of an epochs file.

    Args:
        text: Content of the file.
        metrics: Metrics to return; None for all.

    Returns:
        Metric -> its value per epoch, NaN where an epoch does not have it. Missing metrics are left
        out.
    """
    header, *lines = csv.reader(io.StringIO(text))
    values = {}
    for column, name in enumerate(header):
        is_epoch_number = column == 0
        if is_epoch_number or (metrics is not None and name not in metrics):
            continue
        values[name] = [float(line[column]) if line[column] else math.nan for line in lines]
    return values
