"""Tuning of a study's arms: the search of each arm and the values that it chose."""

from __future__ import annotations

import json
from typing import Any

from ibml.common.formatting import format_value
from ibml.config.metrics.names import describe_metric
from ibml.records import StudyRecord, Tuning
from ibml.report.tables.formats.base import Listing
from ibml.report.tables.formats.registry import FormatName, load_format
from ibml.report.tables.table_spec import MISSING, Column, Entry, TableSpec


def render_tuning(study: StudyRecord, form: FormatName) -> str:
    """Render the tuning of all arms.

    Args:
        study: Record of the study.
        form: Name of the format.

    Returns:
        Per arm and data set: search, trials, epochs, validation value and chosen values.
    """
    records = [tuning.model_dump(mode="json") for tuning in study.tuning]
    label = f"tab:{study.name}-tuning"
    listing = Listing(build_tuning_table(study), label, _build_rows(study), records)
    return load_format(form).render_listing(listing)


def build_tuning_table(study: StudyRecord) -> TableSpec:
    """Return a table with one row per tuned arm and data set."""
    several = len(study.datasets) > 1
    columns = [Column("data set", "name")] if several else []
    columns += [Column("arm", "name"), Column("trials"), Column("epochs")]
    columns += [Column(heading, "words") for heading in ("validation", "chosen", "not searched")]
    rows = []
    for tuning in study.tuning:
        dataset = [Entry(study.table.get_display_name(tuning.dataset))] if several else []
        rows.append(
            (
                *dataset,
                Entry(study.table.get_display_name(tuning.arm)),
                Entry(str(tuning.trials), value=tuning.trials),
                Entry(f"{tuning.epochs:,}", value=tuning.epochs),
                Entry(_format_validation_value(tuning)),
                Entry(_format_parameters(tuning)),
                Entry(", ".join(tuning.fixed)),
            )
        )
    return TableSpec(f"{study.name}: tuning", tuple(columns), tuple(rows))


def _format_parameters(tuning: Tuning) -> str:
    parts = []
    for path, value in tuning.params.items():
        parts.append(f"{path}={format_value(value, digits=4, none='None')}")
    return ", ".join(parts) or "nothing to tune"


def _format_validation_value(tuning: Tuning) -> str:
    if tuning.value is None:
        return MISSING
    metric = describe_metric(tuning.metric)
    return f"{tuning.metric} {metric.scale * tuning.value:.2f} {metric.unit}".strip()


def _build_rows(study: StudyRecord) -> list[dict[str, Any]]:
    """Return one row per arm, data set and chosen parameter."""
    rows = []
    for tuning in study.tuning:
        params = tuning.params or {"": None}
        for path, chosen in params.items():
            rows.append(
                {
                    "dataset": tuning.dataset,
                    "arm": tuning.arm,
                    "search": tuning.search,
                    "trials": tuning.trials,
                    "epochs": tuning.epochs,
                    "metric": tuning.metric,
                    "value": tuning.value,
                    "parameter": path,
                    "chosen": json.dumps(chosen),
                }
            )
    return rows
