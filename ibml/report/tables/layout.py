"""A table as grids: means, differences, and what the design allows to say beyond them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ibml.config.metrics.names import Metric
from ibml.report.tables.analysis import Analysis, AnalysisLine
from ibml.report.tables.table import Table, TableCell
from ibml.report.tables.table_spec import (
    MISSING,
    Column,
    ColumnKind,
    Emphasis,
    Entry,
    Row,
    TableSpec,
    build_interval_entry,
    build_mean_entry,
    build_number_entry,
    build_p_value_entry,
    build_range_entry,
    build_signed_entry,
    format_confidence_level,
)
from ibml.statistics.paired import Difference

_TITLES = {
    "main effects": ("main effects", "effect"),
    "interactions": ("interactions of two factors", "interaction"),
    "variance": ("share of variance", "source"),
    "gains": ("gain of each part, in order", "part"),
    "shapley": ("Shapley values: each part's share of the whole gain", "part"),
    "shapley interactions": ("Shapley interactions: worth more together", "pair"),
    "over data sets": ("over all data sets", "arm"),
}


def build_table_specs(table: Table) -> list[TableSpec]:
    """All grids of a table in their order."""
    return [
        *build_mean_tables(table),
        *build_difference_tables(table),
        *build_analysis_tables(table),
    ]


def build_mean_tables(table: Table) -> list[TableSpec]:
    """The means: a grid with a column per metric, or a grid per metric with a column per data set."""
    by_dataset = table.study.table.columns == "datasets" or (
        table.study.table.columns is None and len(table.datasets) > 1
    )
    return (
        [_build_table_by_dataset(table, metric) for metric in table.metrics]
        if by_dataset
        else [_build_table_by_metric(table)]
    )


def format_metric_heading(table: Table, metric: Metric) -> str:
    """A metric's name with its unit and direction."""
    arrow = f" {metric.arrow}" if table.study.table.arrows else ""
    return f"{table.study.table.format_metric_name(metric)}{arrow}"


def _build_table_by_metric(table: Table) -> TableSpec:
    several = len(table.datasets) > 1
    columns, lead = _build_lead_columns(table)
    rows: dict[tuple[str, str], Row] = {}
    for dataset in table.datasets:
        for arm in table.arms:
            cells = [table.cells.get((dataset, arm, metric.name)) for metric in table.metrics]
            present = [cell for cell in cells if cell]
            if present:
                first = (Entry(table.study.table.get_display_name(dataset)),) if several else ()
                count = build_number_entry(max(cell.summary.n for cell in present), 0)
                rows[dataset, arm] = (
                    *first,
                    *lead[arm],
                    count,
                    *(_build_cell_entry(table, cell) for cell in cells),
                )
    made: list[Row | str] = []
    for dataset in table.datasets:
        made += _add_group_headings(
            table, {arm: row for (of, arm), row in rows.items() if of == dataset}
        )
    first_column = (Column("data set", "name"),) if several else ()
    metrics = tuple(
        Column(format_metric_heading(table, metric), "measure") for metric in table.metrics
    )
    return TableSpec(table.name, (*first_column, *columns, Column("n"), *metrics), tuple(made))


def _build_table_by_dataset(table: Table, metric: Metric) -> TableSpec:
    columns, lead = _build_lead_columns(table)
    found = table.ranks.get(metric.name)
    ranks = found.ranks if found else {}
    rows: dict[str, Row] = {}
    for arm in table.arms:
        cells = [table.cells.get((dataset, arm, metric.name)) for dataset in table.datasets]
        counts = sorted({cell.summary.n for cell in cells if cell})
        if counts:
            seeds = Entry(
                f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}", value=counts[0]
            )
            tail = (build_number_entry(ranks.get(arm)),) if len(table.datasets) > 1 else ()
            rows[arm] = (
                *lead[arm],
                seeds,
                *(_build_cell_entry(table, cell) for cell in cells),
                *tail,
            )
    datasets = tuple(
        Column(table.study.table.get_display_name(name), "measure") for name in table.datasets
    )
    tail_column = (Column("average rank"),) if len(table.datasets) > 1 else ()
    fewer = (
        f" (ranks over the {found.datasets} data sets that all arms have)"
        if found and found.missing
        else ""
    )
    title = f"{table.name}: {format_metric_heading(table, metric)}{fewer}"
    return TableSpec(
        title,
        (*columns, Column("n"), *datasets, *tail_column),
        tuple(_add_group_headings(table, rows)),
    )


def _build_lead_columns(table: Table) -> tuple[tuple[Column, ...], dict[str, Row]]:
    """The first columns, and by arm what stands in them: its name and what it consists of. Crossed factors say it
    all, so that no name is needed beside them."""
    study = table.study
    named = study.design.type != "factorial" or not study.columns
    names = tuple(
        Column(study.table.get_display_name(name), _get_column_kind(of_arm))
        for name, of_arm in study.columns.items()
    )
    lead: dict[str, Row] = {}
    for arm in table.arms:
        parts = [Entry(_format_component(of_arm.get(arm))) for of_arm in study.columns.values()]
        reference = " (reference)" if arm == table.study.reference else ""
        if named:
            lead[arm] = (Entry(f"{study.table.get_display_name(arm)}{reference}"), *parts)
        else:
            lead[arm] = (Entry(f"{parts[0].text}{reference}"), *parts[1:])
    return ((Column("arm", "name"),) if named else ()) + names, lead


def _get_column_kind(of_arm: Mapping[str, object]) -> ColumnKind:
    return "mark" if all(isinstance(value, bool) for value in of_arm.values()) else "name"


def _format_component(value: object) -> str:
    if isinstance(value, bool):
        return "✓" if value else "–"
    return MISSING if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _build_cell_entry(table: Table, cell: TableCell | None) -> Entry:
    if cell is None:
        return Entry(MISSING)
    emphasis: Emphasis = "best" if cell.best else "second" if cell.second else ""
    return build_mean_entry(
        cell.summary, table.study.table.get_digits(cell.metric), emphasis, cell.marks
    )


def _add_group_headings(table: Table, rows: Mapping[str, Row]) -> Iterator[Row | str]:
    """The rows under the headings of the table's groups."""
    groups = {arm: group for group, members in table.study.table.groups.items() for arm in members}
    last = ""
    for arm, row in rows.items():
        group = groups.get(arm, "")
        if group != last:
            yield group
        last = group
        yield row


def _build_difference_columns(
    table: Table, first: str, adaptive: bool = False
) -> tuple[Column, ...]:
    """The columns of differences; `first` is the heading of the one with the names."""
    interval = f"{format_confidence_level(table.study.table.alpha)} interval"
    tests = ("p", "level") if adaptive else ("p (Holm)",)
    names = [Column(text) for text in ("difference", interval, *tests, "d_z", "detectable")]
    return (Column(first, "name"), *names, Column("verdict", "words"))


def _build_difference_row(
    name: str, d: Difference, digits: int, level: tuple[float | None] | None = None
) -> Row:
    """A difference in the columns above; `level` (in a tuple of one) where there are looks."""
    tests = (
        (build_p_value_entry(d.p_corrected),)
        if level is None
        else (build_p_value_entry(d.p), Entry(_format_level(level[0]), value=level[0]))
    )
    return (
        Entry(name),
        build_signed_entry(d.mean, digits),
        build_interval_entry(d.low, d.high, digits),
        *tests,
        build_number_entry(d.effect_size),
        build_number_entry(d.detectable, digits),
        Entry(d.verdict),
    )


def _format_level(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2g}"


def build_difference_tables(table: Table) -> list[TableSpec]:
    """Every arm against the reference, by data set and metric."""
    adaptive = table.study.adaptive is not None
    rows: list[Row | str] = []
    for dataset in table.datasets:
        for metric in table.metrics:
            digits = table.study.table.get_digits(metric.name)
            cells = [table.cells.get((dataset, arm, metric.name)) for arm in table.arms]
            made = [
                _build_difference_row(
                    table.study.table.get_display_name(cell.arm),
                    cell.difference,
                    digits,
                    (cell.level,) if adaptive else None,
                )
                for cell in cells
                if cell and cell.difference
            ]
            rows += [_format_place(table, dataset, metric), *made] if made else []
    title = f"difference to {table.study.table.get_display_name(table.study.reference)}"
    return (
        [TableSpec(title, _build_difference_columns(table, "arm", adaptive), tuple(rows))]
        if rows
        else []
    )


def _format_place(table: Table, dataset: str, metric: Metric) -> str:
    """Which data set and metric lines are about."""
    shown = table.study.table.get_display_name
    return (
        f"{shown(dataset)} · {shown(metric.name)}"
        if dataset and len(table.datasets) > 1
        else shown(metric.name)
    )


def build_analysis_tables(table: Table) -> list[TableSpec]:
    """A grid for each kind of analysis, with a heading for each data set and metric."""
    kinds: dict[str, list[Analysis]] = {}
    for analysis in table.analyses:
        kinds.setdefault(analysis.kind, []).append(analysis)
    return [_build_analysis_table(table, kind, found) for kind, found in kinds.items()]


def _build_analysis_table(table: Table, kind: str, found: Sequence[Analysis]) -> TableSpec:
    title, first = _TITLES[kind]
    rows: list[Row | str] = []
    for analysis in found:
        digits = table.study.table.get_digits(analysis.metric.name)
        rows.append(_format_place(table, analysis.dataset, analysis.metric))
        rows += [_build_analysis_row(line, digits) for line in analysis.lines]
    columns = _build_difference_columns(table, first)
    if kind == "variance":
        columns = (Column(first, "name"), Column("share %"))
    elif kind == "over data sets":
        level = f"{format_confidence_level(table.study.table.alpha)} interval"
        headings = ("data sets", "difference", "p (Holm)", "P(better)", level)
        columns = (columns[0], *map(Column, headings), columns[-1])
    return TableSpec(title, columns, tuple(rows))


def _build_analysis_row(line: AnalysisLine, digits: int) -> Row:
    if line.share is not None:
        share = None if line.share.share is None else 100 * line.share.share
        return Entry(line.name), build_number_entry(share, 1)
    assert line.difference is not None
    row = _build_difference_row(line.name, line.difference, digits)
    if line.improvement is None:
        return row
    i = line.improvement
    between = build_range_entry(i.low, i.high)
    name, difference, _, p, *_, verdict = row
    return (
        name,
        build_number_entry(i.datasets, 0),
        difference,
        p,
        build_number_entry(i.probability),
        between,
        verdict,
    )
