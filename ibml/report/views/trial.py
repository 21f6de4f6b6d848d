"""View of one trial for a terminal: status, configuration, curves, metrics and artifacts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from ibml.records import TrialRecord
from ibml.report.tables.formats.text import build_rich_table
from ibml.report.tables.table_spec import Column, Entry, TableSpec
from ibml.report.views.overview import format_duration

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


@dataclass(frozen=True)
class TrialView:
    """A trial with everything that the view shows.

    Attributes:
        record: Record of the trial.
        config: Configuration as YAML.
        epochs: Metric -> value at each epoch.
        log: Traceback of a failed trial; else None.
        artifacts: Paths of the artifacts.
    """

    record: TrialRecord
    config: str
    epochs: Mapping[str, Sequence[float]]
    log: str | None
    artifacts: Sequence[str]


def build_trial_group(view: TrialView) -> Group:
    """Return the view for Rich, with the traceback at the end."""
    record = view.record
    title = f"{record.dataset} · {record.arm} · seed {record.seed}"
    parts: list[RenderableType] = [
        Text(title, style="bold"),
        *map(Text, _list_facts(record)),
        Text("\nconfiguration", style="bold"),
        Text(view.config.rstrip()),
        Text(),
    ]
    if view.epochs:
        parts.append(build_rich_table(_build_curve_table(view.epochs)))
    else:
        parts.append(Text("\nNo epoch was logged."))
    final = {name: value for name, value in record.metrics.items() if name not in view.epochs}
    if final:
        parts.append(build_rich_table(_build_final_table(final)))
    parts += [Text("artifacts", style="bold"), *map(Text, view.artifacts)]
    if view.log:
        parts += [Text("\ntraceback.txt", style="bold"), Text(view.log.rstrip())]
    return Group(*parts)


def _list_facts(record: TrialRecord) -> list[str]:
    started = datetime.fromtimestamp(record.started_at / 1000, UTC)
    timing = f"started {started:%Y-%m-%d %H:%M:%S} UTC"
    if record.ended_at:
        timing += f", took {format_duration((record.ended_at - record.started_at) / 1000)}"
    status: str = record.status
    if record.reason:
        status += f": {record.reason}"
    facts = [
        status,
        f"MLflow run {record.run_id}; key {record.key}",
        f"{timing}; code {record.revision or 'unknown'} on {record.platform or 'unknown'};"
        f" data {record.fingerprint[:12]}",
    ]
    studies = ", ".join(f"{study} (as {arm})" for study, arm in sorted(record.studies.items()))
    if studies:
        facts.append(f"part of {studies}")
    return facts


def _build_curve_table(epochs: Mapping[str, Sequence[float]]) -> TableSpec:
    last_epoch = max(map(len, epochs.values()))
    columns = (
        Column("metric", "name"),
        *map(Column, ("first", "last", "lowest", "highest")),
        Column(f"epochs 1 to {last_epoch}", "words"),
    )
    rows = []
    for name in sorted(epochs):
        values = epochs[name]
        finite = [value for value in values if math.isfinite(value)]
        lowest, highest = min(finite, default=math.nan), max(finite, default=math.nan)
        row = [Entry(name)]
        for value in (values[0], values[-1], lowest, highest):
            row.append(Entry(f"{value:.4g}", value=value))
        row.append(Entry(draw_sparkline(values)))
        rows.append(tuple(row))
    return TableSpec("curves", columns, tuple(rows))


def _build_final_table(metrics: Mapping[str, float]) -> TableSpec:
    rows = []
    for name in sorted(metrics):
        rows.append((Entry(name), Entry(f"{metrics[name]:.6g}", value=metrics[name])))
    columns = (Column("metric", "name"), Column("value"))
    return TableSpec("selected epoch and test", columns, tuple(rows))


def draw_sparkline(values: Sequence[float]) -> str:
    """Draw a curve as a line of bars.

    Args:
        values: Values of the curve.

    Returns:
        At most 40 characters, each the mean of neighboring values; a space for a mean that is not
        finite.
    """
    size = max(1, math.ceil(len(values) / _WIDTH))
    means = []
    for start in range(0, len(values), size):
        group = values[start : start + size]
        means.append(sum(group) / len(group))
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    line = ""
    for mean in means:
        line += _BARS[round(scale * (mean - low))] if math.isfinite(mean) else " "
    return line
