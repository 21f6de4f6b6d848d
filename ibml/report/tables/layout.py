"""Layout of a study's table: means, differences and analyses as `TableSpec`s."""

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
"""Kind of analysis -> (title, heading of the first column)."""


def build_table_specs(table: Table) -> list[TableSpec]:
    """Return all parts of a table in their order."""
    return [
        *build_mean_tables(table),
        *build_difference_tables(table),
        *build_analysis_tables(table),
    ]


def build_mean_tables(table: Table) -> list[TableSpec]:
    """Return the means.

    Args:
        table: The table.

    Returns:
        One table with a column per metric, or one table per metric with a column per data set,
        as `table.columns` of the study says.
    """
    columns = table.study.table.columns
    if columns is None:
        columns = "datasets" if len(table.datasets) > 1 else "metrics"
    if columns == "datasets":
        return [_build_table_by_dataset(table, metric) for metric in table.metrics]
    return [_build_table_by_metric(table)]


def format_metric_heading(table: Table, metric: Metric) -> str:
    """Return a metric's displayed name with its unit and, if enabled, its direction."""
    heading = table.study.table.format_metric_name(metric)
    if table.study.table.arrows:
        heading += f" {metric.arrow}"
    return heading


def _build_table_by_metric(table: Table) -> TableSpec:
    several = len(table.datasets) > 1
    lead_columns, lead_entries = _build_lead_columns(table)
    rows: list[Row | str] = []
    for dataset in table.datasets:
        dataset_entries = (Entry(table.study.table.get_display_name(dataset)),) if several else ()
        dataset_rows = {}
        for arm in table.arms:
            cells = [table.cells.get((dataset, arm, metric.name)) for metric in table.metrics]
            seed_counts = [cell.summary.n for cell in cells if cell]
            if seed_counts:
                dataset_rows[arm] = (
                    *dataset_entries,
                    *lead_entries[arm],
                    build_number_entry(max(seed_counts), 0),
                    *(_build_cell_entry(table, cell) for cell in cells),
                )
        rows += _add_group_headings(table, dataset_rows)
    columns = [Column("data set", "name")] if several else []
    columns += [*lead_columns, Column("n")]
    for metric in table.metrics:
        columns.append(Column(format_metric_heading(table, metric), "measure"))
    return TableSpec(table.name, tuple(columns), tuple(rows))


def _build_table_by_dataset(table: Table, metric: Metric) -> TableSpec:
    several = len(table.datasets) > 1
    lead_columns, lead_entries = _build_lead_columns(table)
    ranks = table.ranks.get(metric.name)
    rank_by_arm = ranks.ranks if ranks else {}
    rows: dict[str, Row] = {}
    for arm in table.arms:
        cells = [table.cells.get((dataset, arm, metric.name)) for dataset in table.datasets]
        seed_counts = sorted({cell.summary.n for cell in cells if cell})
        if not seed_counts:
            continue
        count_text = f"{seed_counts[0]}"
        if len(seed_counts) > 1:
            count_text += f"–{seed_counts[-1]}"
        rank_entries = (build_number_entry(rank_by_arm.get(arm)),) if several else ()
        rows[arm] = (
            *lead_entries[arm],
            Entry(count_text, value=seed_counts[0]),
            *(_build_cell_entry(table, cell) for cell in cells),
            *rank_entries,
        )
    columns = [*lead_columns, Column("n")]
    for name in table.datasets:
        columns.append(Column(table.study.table.get_display_name(name), "measure"))
    if several:
        columns.append(Column("average rank"))
    title = f"{table.name}: {format_metric_heading(table, metric)}"
    if ranks and ranks.missing:
        title += f" (ranks over the {ranks.datasets} data sets that all arms have)"
    return TableSpec(title, tuple(columns), tuple(_add_group_headings(table, rows)))


def _build_lead_columns(table: Table) -> tuple[tuple[Column, ...], dict[str, Row]]:
    """Return the first columns, and by arm their entries: its name and its components.

    In a factorial design the levels of the factors identify an arm, so its name is left out.
    """
    study = table.study
    has_name = study.design.type != "factorial" or not study.columns
    columns = [Column("arm", "name")] if has_name else []
    for name, value_by_arm in study.columns.items():
        columns.append(Column(study.table.get_display_name(name), _get_column_kind(value_by_arm)))
    entries: dict[str, Row] = {}
    for arm in table.arms:
        texts = [study.table.get_display_name(arm)] if has_name else []
        for value_by_arm in study.columns.values():
            texts.append(_format_component(value_by_arm.get(arm)))
        if arm == study.reference:
            texts[0] += " (reference)"
        entries[arm] = tuple(map(Entry, texts))
    return tuple(columns), entries


def _get_column_kind(value_by_arm: Mapping[str, object]) -> ColumnKind:
    is_binary = all(isinstance(value, bool) for value in value_by_arm.values())
    return "mark" if is_binary else "name"


def _format_component(value: object) -> str:
    if isinstance(value, bool):
        return "✓" if value else "–"
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _build_cell_entry(table: Table, cell: TableCell | None) -> Entry:
    if cell is None:
        return Entry(MISSING)
    emphasis: Emphasis = ""
    if cell.best:
        emphasis = "best"
    elif cell.second:
        emphasis = "second"
    digits = table.study.table.get_digits(cell.metric)
    return build_mean_entry(cell.summary, digits, emphasis, cell.marks)


def _add_group_headings(table: Table, rows: Mapping[str, Row]) -> Iterator[Row | str]:
    """Yield the rows with a heading before each group of arms."""
    group_by_arm: dict[str, str] = {}
    for group, arms in table.study.table.groups.items():
        group_by_arm |= dict.fromkeys(arms, group)
    last = ""
    for arm, row in rows.items():
        group = group_by_arm.get(arm, "")
        if group != last:
            yield group
        last = group
        yield row


def _build_difference_columns(
    table: Table, first: str, adaptive: bool = False
) -> tuple[Column, ...]:
    """Return the columns of differences; `first` is the heading of the names."""
    interval = f"{format_confidence_level(table.study.table.alpha)} interval"
    tests = ("p", "level") if adaptive else ("p (Holm)",)
    headings = ("difference", interval, *tests, "d_z", "MDE")
    return (Column(first, "name"), *map(Column, headings), Column("verdict", "words"))


def _build_difference_row(
    name: str, difference: Difference, digits: int, test_entries: Row | None = None
) -> Row:
    """Return the row of a difference, by default with the Holm-corrected p-value."""
    if test_entries is None:
        test_entries = (build_p_value_entry(difference.p_corrected),)
    return (
        Entry(name),
        build_signed_entry(difference.mean, digits),
        build_interval_entry(difference.low, difference.high, digits),
        *test_entries,
        build_number_entry(difference.effect_size),
        build_number_entry(difference.detectable, digits),
        Entry(difference.verdict),
    )


def _format_level(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2g}"


def build_difference_tables(table: Table) -> list[TableSpec]:
    """Return the differences from the reference.

    Args:
        table: The table.

    Returns:
        One table with a heading per data set and metric; none if there is no difference.
    """
    rows: list[Row | str] = []
    for dataset in table.datasets:
        for metric in table.metrics:
            column_rows = _build_column_differences(table, dataset, metric)
            if column_rows:
                rows += [_format_place(table, dataset, metric), *column_rows]
    if not rows:
        return []
    title = f"difference to {table.study.table.get_display_name(table.study.reference)}"
    columns = _build_difference_columns(table, "arm", table.study.adaptive is not None)
    return [TableSpec(title, columns, tuple(rows))]


def _build_column_differences(table: Table, dataset: str, metric: Metric) -> list[Row]:
    settings = table.study.table
    rows = []
    for arm in table.arms:
        cell = table.cells.get((dataset, arm, metric.name))
        if cell is None or cell.difference is None:
            continue
        test_entries = None
        if table.study.adaptive is not None:
            level_entry = Entry(_format_level(cell.level), value=cell.level)
            test_entries = (build_p_value_entry(cell.difference.p), level_entry)
        name, digits = settings.get_display_name(cell.arm), settings.get_digits(metric.name)
        rows.append(_build_difference_row(name, cell.difference, digits, test_entries))
    return rows


def _format_place(table: Table, dataset: str, metric: Metric) -> str:
    """Return the heading of a metric on a data set."""
    shown = table.study.table.get_display_name
    if dataset and len(table.datasets) > 1:
        return f"{shown(dataset)} · {shown(metric.name)}"
    return shown(metric.name)


def build_analysis_tables(table: Table) -> list[TableSpec]:
    """Return one table per kind of analysis, with a heading per data set and metric."""
    by_kind: dict[str, list[Analysis]] = {}
    for analysis in table.analyses:
        by_kind.setdefault(analysis.kind, []).append(analysis)
    return [_build_analysis_table(table, kind, found) for kind, found in by_kind.items()]


def _build_analysis_table(table: Table, kind: str, analyses: Sequence[Analysis]) -> TableSpec:
    title, first = _TITLES[kind]
    rows: list[Row | str] = []
    for analysis in analyses:
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
    name = Entry(line.name)
    if line.share is not None:
        share = line.share.share
        percent = None if share is None else 100 * share
        return name, build_number_entry(percent, 1)
    difference = line.difference
    assert difference is not None
    if line.improvement is None:
        return _build_difference_row(line.name, difference, digits)
    improvement = line.improvement
    return (
        name,
        build_number_entry(improvement.datasets, 0),
        build_signed_entry(difference.mean, digits),
        build_p_value_entry(difference.p_corrected),
        build_number_entry(improvement.probability),
        build_range_entry(improvement.low, improvement.high),
        Entry(difference.verdict),
    )
