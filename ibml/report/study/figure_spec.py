"""Figures of a study with file name, caption and alternative text."""

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
    """A figure of a study.

    Attributes:
        name: File name without extension.
        section: Heading under which the page shows the figure.
        caption: Caption.
        alt: Alternative text: what the figure shows, with numbers.
        figure: The figure.
        is_secondary: True for a metric after the first one; the page folds such figures.
    """

    name: str
    section: str
    caption: str
    alt: str
    figure: Figure
    is_secondary: bool = False


def build_file_name(
    table: Table, kind: str, metric: Metric | None, dataset: str = "", detail: str = ""
) -> str:
    """Return the file name of a figure, for example `forest-test.accuracy`.

    Args:
        table: The table of the study.
        kind: Kind of the figure.
        metric: Metric, if the figure shows a single one.
        dataset: Data set, which the name has if the study has several.
        detail: Further part of the name, for example a factor.

    Returns:
        Letters, digits, dots and hyphens, without extension.
    """
    parts = [kind, detail]
    if metric:
        parts.append(metric.name)
    if len(table.datasets) > 1:
        parts.append(dataset)
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(filter(None, parts))).strip("-.")


def format_axis_label(table: Table, metric: Metric) -> str:
    """Return the label of a metric's axis: displayed name and unit."""
    return table.study.table.format_metric_name(metric)


def format_dataset_suffix(table: Table, dataset: str) -> str:
    """Return ` on DATASET`, or an empty text for a study with a single data set."""
    if len(table.datasets) < 2:
        return ""
    return f" on {table.study.table.get_display_name(dataset)}"


def join_statements(parts: Sequence[str]) -> str:
    """Join the first statements to a sentence, and count the others."""
    text = "; ".join(parts[:_MAX_STATEMENTS])
    further = len(parts) - _MAX_STATEMENTS
    if further > 0:
        text += f"; and {further} more, which are in the tables"
    return text + "."


def describe_difference(name: str, difference: Difference, digits: int) -> str:
    """Describe a difference for the alternative text.

    Args:
        name: Displayed name of the arm or effect.
        difference: The difference.
        digits: Decimals.

    Returns:
        Name, mean, interval and verdict.
    """
    if difference.mean is None:
        return f"{name}: no pairs"
    text = f"{name} {format_signed(difference.mean, digits)}"
    if difference.low is not None:
        low, high = format_signed(difference.low, digits), format_signed(difference.high, digits)
        text += f" [{low}, {high}]"
    return f"{text}, {difference.verdict}"


def describe_columns(
    table: Table, columns: Mapping[str, Mapping[str, Difference]], digits: int
) -> str:
    """Describe the differences of a forest plot for the alternative text.

    Args:
        table: The table of the study.
        columns: Data set -> arm or effect -> difference.
        digits: Decimals.

    Returns:
        A sentence.
    """
    several = len(table.datasets) > 1
    statements = []
    for dataset, column in columns.items():
        prefix = f"{dataset} · " if several and dataset else ""
        for name, difference in column.items():
            statements.append(describe_difference(f"{prefix}{name}", difference, digits))
    return join_statements(statements)


def describe_omitted_arms(table: Table) -> str:
    """Return a remark for the caption of a figure that leaves out arms; else an empty text."""
    if len(table.arms) <= MAX_ARMS:
        return ""
    return f" (the {MAX_ARMS - 1} arms that differ the most)"
