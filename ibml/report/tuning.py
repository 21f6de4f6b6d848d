"""What the arms of a study were tuned to."""

from __future__ import annotations

import json

import pandas as pd
from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from ibml.config.metrics import describe
from ibml.config.records import StudyRecord, Tuning
from ibml.report.render import Format, markdown_table, plain_text, tex_table


def tuning_text(study: StudyRecord, form: Format) -> str:
    """Per arm and data set: search, trials, epochs, validation value and the chosen values, in a format."""
    match form:
        case "text":
            return plain_text(tuning_table(study))
        case "markdown":
            return markdown_table(*_grid(study))
        case "latex":
            return tex_table(*_grid(study))
        case "csv":
            return _frame(study).to_csv(index=False, lineterminator="\n")
        case "json":
            return json.dumps([t.model_dump(mode="json") for t in study.tuning], indent=1, ensure_ascii=False) + "\n"


def tuning_table(study: StudyRecord) -> RichTable:
    """The same for a terminal."""
    header, rows = _grid(study)
    title = Text(f"{study.name}: tuning", style="bold")
    grid = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in header:
        grid.add_column(heading, overflow="fold", justify="right" if heading in ("trials", "epochs") else "left")
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def _grid(study: StudyRecord) -> tuple[list[str], list[list[str]]]:
    several = len(study.datasets) > 1
    header = [*(["data set"] if several else []), "arm", "trials", "epochs", "validation", "chosen", "not searched"]
    rows = [
        [
            *([t.dataset] if several else []),
            t.arm,
            str(t.trials),
            f"{t.epochs:,}",
            _value(t),
            ", ".join(f"{path}={_shown(v)}" for path, v in t.params.items()) or "nothing to tune",
            ", ".join(t.fixed),
        ]
        for t in study.tuning
    ]
    return header, rows


def _value(tuning: Tuning) -> str:
    if tuning.value is None:
        return "–"
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
