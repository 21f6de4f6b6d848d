"""What the arms of a study were tuned to."""

from __future__ import annotations

import json
from typing import Any

from ibml.config.metrics.names import describe_metric
from ibml.records import StudyRecord, Tuning
from ibml.report.tables.formats.base import Listing
from ibml.report.tables.formats.registry import FormatName, load_format
from ibml.report.tables.table_spec import MISSING, Column, Entry, TableSpec


def render_tuning(study: StudyRecord, form: FormatName) -> str:
    """Per arm and data set: search, trials, epochs, validation value and the chosen values, in a format."""
    records = [t.model_dump(mode="json") for t in study.tuning]
    listing = Listing(
        build_tuning_table(study), f"tab:{study.name}-tuning", _build_rows(study), records
    )
    return load_format(form).render_listing(listing)


def build_tuning_table(study: StudyRecord) -> TableSpec:
    """What the search of each arm came to."""
    several = len(study.datasets) > 1
    columns = [Column("data set", "name")] if several else []
    columns += [Column("arm", "name"), Column("trials"), Column("epochs")]
    columns += [Column(heading, "words") for heading in ("validation", "chosen", "not searched")]
    rows = []
    for t in study.tuning:
        lead = [Entry(study.table.get_display_name(t.dataset))] if several else []
        chosen = (
            ", ".join(f"{path}={_format_value(v)}" for path, v in t.params.items())
            or "nothing to tune"
        )
        counts = [Entry(str(t.trials), value=t.trials), Entry(f"{t.epochs:,}", value=t.epochs)]
        words = map(Entry, (_format_validation_value(t), chosen, ", ".join(t.fixed)))
        rows.append((*lead, Entry(study.table.get_display_name(t.arm)), *counts, *words))
    return TableSpec(f"{study.name}: tuning", tuple(columns), tuple(rows))


def _format_validation_value(tuning: Tuning) -> str:
    if tuning.value is None:
        return MISSING
    metric = describe_metric(tuning.metric)
    return f"{tuning.metric} {metric.scale * tuning.value:.2f} {metric.unit}".strip()


def _format_value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _build_rows(study: StudyRecord) -> list[dict[str, Any]]:
    """One row per arm, data set and chosen parameter."""
    return [
        {
            "dataset": t.dataset,
            "arm": t.arm,
            "search": t.search,
            "trials": t.trials,
            "epochs": t.epochs,
        }
        | {"metric": t.metric, "value": t.value, "parameter": path, "chosen": json.dumps(chosen)}
        for t in study.tuning
        for path, chosen in (t.params or {"": None}).items()
    ]
