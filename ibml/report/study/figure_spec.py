"""A figure of a study with its name and its words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ibml.config.metrics.names import Metric
from ibml.report.study.figure_data import MAX_ARMS
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import format_signed
from ibml.statistics.paired import Difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_STATEMENTS = 8


@dataclass(frozen=True)
class FigureSpec:
    """A figure, its name in a path, what stands under it, and what is seen in it. Figures of one `section` belong
    together; of a `further` one there is another that says the most important of it."""

    name: str
    section: str
    caption: str
    alt: str
    figure: Figure
    further: bool = False


def build_file_name(
    table: Table, kind: str, metric: Metric | None, dataset: str = "", rest: str = ""
) -> str:
    """A name for files: `forest-test.accuracy`, and with the data set where there are several."""
    parts = [kind, rest, metric.name if metric else "", dataset if len(table.datasets) > 1 else ""]
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(filter(None, parts))).strip("-.")


def format_axis_label(table: Table, metric: Metric) -> str:
    """A metric's shown name with its unit, as an axis has it."""
    return table.study.table.format_metric_name(metric)


def format_dataset_suffix(table: Table, dataset: str) -> str:
    """` on DATASET`, where there are several."""
    return f" on {table.study.table.get_display_name(dataset)}" if len(table.datasets) > 1 else ""


def join_statements(parts: Sequence[str]) -> str:
    """The first parts as a sentence, and how many more there are."""
    more = len(parts) - _MAX_STATEMENTS
    return (
        "; ".join(parts[:_MAX_STATEMENTS])
        + (f"; and {more} more, which are in the tables" if more > 0 else "")
        + "."
    )


def describe_difference(name: str, d: Difference, digits: int) -> str:
    """Mean, interval and verdict of a difference, for those who do not see the figure."""
    if d.mean is None:
        return f"{name}: no pairs"
    between = (
        f" [{format_signed(d.low, digits)}, {format_signed(d.high, digits)}]"
        if d.low is not None
        else ""
    )
    return f"{name} {format_signed(d.mean, digits)}{between}, {d.verdict}"


def describe_columns(
    table: Table, columns: Mapping[str, Mapping[str, Difference]], digits: int
) -> str:
    """The differences of a forest: data set -> arm or effect -> difference."""
    several = len(table.datasets) > 1
    return join_statements(
        [
            describe_difference(f"{dataset} · {name}" if several and dataset else name, d, digits)
            for dataset, column in columns.items()
            for name, d in column.items()
        ]
    )


def describe_omitted_arms(table: Table) -> str:
    """That a figure leaves out arms, where it does."""
    return f" (the {MAX_ARMS - 1} arms that differ the most)" if len(table.arms) > MAX_ARMS else ""
