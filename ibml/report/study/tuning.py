"""What the arms of a study were tuned to."""

from __future__ import annotations

import json

import pandas as pd

from ibml.config.metrics import describe
from ibml.records import StudyRecord, Tuning
from ibml.report.tables.formats.html import html_grid
from ibml.report.tables.formats.latex import document, latex_table
from ibml.report.tables.formats.markdown import markdown_grid
from ibml.report.tables.formats.text import plain_text, rich_grid
from ibml.report.tables.render import Format
from ibml.report.tables.table_spec import NOTHING, Column, Entry, Grid


def tuning_text(study: StudyRecord, form: Format) -> str:
    """Per arm and data set: search, trials, epochs, validation value and the chosen values, in a format."""
    grid = tuning_grid(study)
    match form:
        case "text":
            return plain_text(rich_grid(grid))
        case "markdown":
            return markdown_grid(grid)
        case "latex":
            return document([latex_table(grid, grid.title, f"tab:{study.name}-tuning")])
        case "html":
            return html_grid(grid)
        case "csv":
            return _frame(study).to_csv(index=False, lineterminator="\n")
        case "json":
            return json.dumps([t.model_dump(mode="json") for t in study.tuning], indent=1, ensure_ascii=False) + "\n"


def tuning_grid(study: StudyRecord) -> Grid:
    """What the search of each arm came to."""
    several = len(study.datasets) > 1
    columns = [Column("data set", "name")] if several else []
    columns += [Column("arm", "name"), Column("trials"), Column("epochs")]
    columns += [Column(heading, "words") for heading in ("validation", "chosen", "not searched")]
    rows = []
    for t in study.tuning:
        lead = [Entry(study.table.shown(t.dataset))] if several else []
        chosen = ", ".join(f"{path}={_shown(v)}" for path, v in t.params.items()) or "nothing to tune"
        counts = [Entry(str(t.trials), value=t.trials), Entry(f"{t.epochs:,}", value=t.epochs)]
        words = map(Entry, (_value(t), chosen, ", ".join(t.fixed)))
        rows.append((*lead, Entry(study.table.shown(t.arm)), *counts, *words))
    return Grid(f"{study.name}: tuning", tuple(columns), tuple(rows))


def _value(tuning: Tuning) -> str:
    if tuning.value is None:
        return NOTHING
    metric = describe(tuning.metric)
    return f"{tuning.metric} {metric.scale * tuning.value:.2f} {metric.unit}".strip()


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _frame(study: StudyRecord) -> pd.DataFrame:
    """One row per arm, data set and chosen parameter."""
    rows = [
        {"dataset": t.dataset, "arm": t.arm, "search": t.search, "trials": t.trials, "epochs": t.epochs}
        | {"metric": t.metric, "value": t.value, "parameter": path, "chosen": json.dumps(chosen)}
        for t in study.tuning
        for path, chosen in (t.params or {"": None}).items()
    ]
    return pd.DataFrame(rows)
