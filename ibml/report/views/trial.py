"""One trial for a terminal: what it was, its curves, what it left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group
from rich.text import Text

from ibml.records import TrialRecord
from ibml.report.tables.formats.text import build_rich_table
from ibml.report.tables.table_spec import Column, Entry, TableSpec
from ibml.report.views.overview import format_duration

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


@dataclass(frozen=True)
class TrialView:
    """A trial with its configuration (YAML), epochs (metric -> values), traceback if it failed, and artifacts."""

    record: TrialRecord
    config: str
    epochs: Mapping[str, Sequence[float]]
    log: str | None
    artifacts: Sequence[str]


def build_trial_group(view: TrialView) -> Group:
    """Everything, the traceback last."""
    final = {name: value for name, value in view.record.metrics.items() if name not in view.epochs}
    parts = [
        Text(f"{view.record.dataset} · {view.record.arm} · seed {view.record.seed}", style="bold"),
        *map(Text, _list_facts(view.record)),
        Text("\nconfiguration", style="bold"),
        Text(view.config.rstrip()),
    ]
    found = (
        [build_rich_table(_build_curve_table(view.epochs))]
        if view.epochs
        else [Text("\nNo epoch was logged.")]
    )
    end = [build_rich_table(_build_final_table(final))] if final else []
    files = [Text("artifacts", style="bold"), *(Text(path) for path in view.artifacts)]
    log = [Text("\ntraceback.txt", style="bold"), Text(view.log.rstrip())] if view.log else []
    return Group(*parts, Text(), *found, *end, *files, *log)


def _list_facts(record: TrialRecord) -> list[str]:
    begun = datetime.fromtimestamp(record.started_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    took = (
        f", {format_duration((record.ended_at - record.started_at) / 1000)} to the end"
        if record.ended_at
        else ""
    )
    reason = f": {record.reason}" if record.reason else ""
    studies = ", ".join(f"{study} (as {arm})" for study, arm in sorted(record.studies.items()))
    return [
        f"{record.status}{reason}",
        f"MLflow run {record.run_id}; key {record.key}",
        f"begun {begun}{took}; code {record.revision or 'unknown'} on {record.platform or 'unknown'};"
        f" data {record.fingerprint[:12]}",
        *([f"part of {studies}"] if studies else []),
    ]


def _build_curve_table(epochs: Mapping[str, Sequence[float]]) -> TableSpec:
    headings = (
        "metric",
        "first",
        "last",
        "lowest",
        "highest",
        "epochs 1 to " + str(max(map(len, epochs.values()))),
    )
    columns = [
        Column(headings[0], "name"),
        *map(Column, headings[1:5]),
        Column(headings[5], "words"),
    ]
    rows = []
    for name in sorted(epochs):
        finite = [value for value in epochs[name] if math.isfinite(value)]
        shown = (
            epochs[name][0],
            epochs[name][-1],
            min(finite, default=math.nan),
            max(finite, default=math.nan),
        )
        rows.append(
            (
                Entry(name),
                *(Entry(f"{value:.4g}", value=value) for value in shown),
                Entry(draw_sparkline(epochs[name])),
            )
        )
    return TableSpec("curves", tuple(columns), tuple(rows))


def _build_final_table(metrics: Mapping[str, float]) -> TableSpec:
    rows = tuple(
        (Entry(name), Entry(f"{metrics[name]:.6g}", value=metrics[name]))
        for name in sorted(metrics)
    )
    return TableSpec("selected epoch and test", (Column("metric", "name"), Column("value")), rows)


def draw_sparkline(values: Sequence[float]) -> str:
    """A curve as bars of one line, at most 40 wide (means of neighbours); a gap where a value is no number."""
    size = max(1, math.ceil(len(values) / _WIDTH))
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    means = [sum(group) / len(group) for group in groups]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        _BARS[round(scale * (mean - low))] if math.isfinite(mean) else " " for mean in means
    )
