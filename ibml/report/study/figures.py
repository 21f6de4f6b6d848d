"""Figures of a study: the choice of figures, their names, captions and alternative texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from ibml.common.formatting import format_count
from ibml.config.metrics.names import Metric, describe_metric
from ibml.report.study.figure_data import (
    JOINT,
    Curves,
    choose_arms,
    collect_epoch_values,
    collect_factor_values,
    compute_interactions,
    get_arm_names,
    iterate_columns,
)
from ibml.report.study.figure_spec import (
    FigureSpec,
    build_file_name,
    describe_columns,
    describe_difference,
    describe_omitted_arms,
    format_axis_label,
    format_dataset_suffix,
    join_statements,
)
from ibml.report.tables.analysis import Analysis
from ibml.report.tables.results import Results
from ibml.report.tables.table import Table, collect_dataset_means
from ibml.report.tables.table_spec import (
    capitalize_first,
    format_confidence_level,
    format_number,
)
from ibml.statistics.datasets import find_nonsignificant_groups
from ibml.statistics.paired import Difference

EPOCH_SECTION = "Epoch by epoch"
_DESIGN_SECTION = "What the design says"


def build_figures(table: Table, results: Results, curves: Curves) -> list[FigureSpec]:
    """Draw the figures of a study.

    Args:
        table: The table of the study.
        results: Results of the study.
        curves: Per-epoch values by run; may be empty.

    Returns:
        Figures in the order of the page. Empty without results; without `curves` there are no
        learning curves.
    """
    if not results.ended:
        return []
    specs = [
        *_draw_forests(table),
        *_draw_effects_and_gains(table),
        *_draw_interactions(table, results),
        *_draw_values(table, results),
        *_draw_attributions(table),
        *_draw_ranks(table),
        *_draw_paired_runs(table, results),
        *_draw_learning_curves(table, results, curves),
    ]
    if len({spec.name for spec in specs}) < len(specs):
        # Names of data sets may differ only in characters that file names do not keep.
        numbered = enumerate(specs, start=1)
        specs = [replace(spec, name=f"{spec.name}-{number}") for number, spec in numbered]
    return specs


def _draw_forests(table: Table) -> Iterator[FigureSpec]:
    from ibml.report.figures.differences import draw_forest

    settings = table.study.table
    reference = settings.get_display_name(table.study.reference)
    interval = format_confidence_level(settings.alpha)
    for metric in table.metrics:
        names = get_arm_names(table, choose_arms(table, metric))
        columns = _collect_differences(table, metric, names)
        if not any(columns.values()):
            continue
        label, digits = format_axis_label(table, metric), settings.get_digits(metric.name)
        caption = (
            f"Difference to {reference} in {label}{describe_omitted_arms(table)},"
            f" with {interval} intervals."
        )
        reference_name = names.get(table.study.reference, reference)
        yield FigureSpec(
            build_file_name(table, "forest", metric),
            "Differences to the reference",
            caption,
            f"{caption} {describe_columns(table, columns, digits)}",
            draw_forest(
                columns, reference_name, label, metric.higher_is_better, settings.alpha, digits
            ),
        )


def _collect_differences(
    table: Table, metric: Metric, names: Mapping[str, str]
) -> dict[str, dict[str, Difference]]:
    """Return displayed data set -> displayed arm -> difference, for the arms in `names`."""
    get_name = table.study.table.get_display_name
    columns: dict[str, dict[str, Difference]] = {}
    for dataset in table.datasets:
        columns[get_name(dataset)] = {}
    for (dataset, arm, metric_name), cell in table.cells.items():
        if metric_name == metric.name and arm in names and cell.difference:
            columns[get_name(dataset)][names[arm]] = cell.difference
    return columns


def _select_analyses(table: Table, kind: str) -> dict[Metric, list[Analysis]]:
    """Return the analyses of a kind by metric, without metrics that have no pair."""
    selected: dict[Metric, list[Analysis]] = {}
    for metric in table.metrics:
        analyses = [a for a in table.analyses if a.kind == kind and a.metric == metric]
        if any(_has_pairs(analysis) for analysis in analyses):
            selected[metric] = analyses
    return selected


def _has_pairs(analysis: Analysis) -> bool:
    return any(line.difference and line.difference.n for line in analysis.lines)


_FOREST_PLOTS: tuple[tuple[str, str, str, str], ...] = (
    ("main effects", "effects", "the factor's first level", "Main effects"),
    ("gains", "gains", "the step before", "Gain of each part, in order"),
)
"""Kind of analysis, name in the file name, reference and title of each forest plot of a design."""


def _draw_effects_and_gains(table: Table) -> Iterator[FigureSpec]:
    """Draw main effects of factors, and gains of components, as forest plots."""
    from ibml.report.figures.differences import draw_forest

    settings = table.study.table
    interval = format_confidence_level(settings.alpha)
    for kind, name, reference, title in _FOREST_PLOTS:
        for metric, analyses in _select_analyses(table, kind).items():
            columns = {}
            for analysis in analyses:
                differences = {x.name: x.difference for x in analysis.lines if x.difference}
                columns[settings.get_display_name(analysis.dataset)] = differences
            label, digits = format_axis_label(table, metric), settings.get_digits(metric.name)
            caption = f"{title}: {label}, with {interval} intervals."
            yield FigureSpec(
                build_file_name(table, name, metric),
                _DESIGN_SECTION,
                caption,
                f"{caption} {describe_columns(table, columns, digits)}",
                draw_forest(
                    columns, reference, label, metric.higher_is_better, settings.alpha, digits
                ),
            )


def _draw_interactions(table: Table, results: Results) -> Iterator[FigureSpec]:
    from ibml.report.figures.effects import draw_interactions

    if table.study.design.type != "factorial":
        return
    for dataset, metric in iterate_columns(table):
        pairs = compute_interactions(table, results, dataset, metric)
        digits = table.study.table.get_digits(metric.name)
        statements = []
        for pair in pairs:
            for a in pair.levels_a:
                for b in pair.levels_b:
                    mean = format_number(pair.means[a, b][0], digits)
                    statements.append(f"{pair.factor_a} {a}, {pair.factor_b} {b}: {mean}")
        label = format_axis_label(table, metric)
        caption = (
            f"Means of {label} by two factors{format_dataset_suffix(table, dataset)};"
            " parallel lines do not interact."
        )
        yield FigureSpec(
            build_file_name(table, "interactions", metric, dataset),
            _DESIGN_SECTION,
            caption,
            f"{caption} {join_statements(statements)}",
            draw_interactions(pairs, label),
            is_secondary=metric != table.metrics[0],
        )


def _draw_values(table: Table, results: Results) -> Iterator[FigureSpec]:
    from ibml.report.figures.effects import draw_value_curve

    if table.study.design.type != "one_factor":
        return
    for factor in table.study.design.factors:
        name = table.study.table.get_display_name(factor)
        for dataset, metric in iterate_columns(table):
            points, reference = collect_factor_values(table, results, factor, dataset, metric)
            digits = table.study.table.get_digits(metric.name)
            statements = []
            for value, seeds in points:
                mean = sum(seeds) / len(seeds) if seeds else None
                statements.append(f"{value} {format_number(mean, digits)}")
            label = format_axis_label(table, metric)
            caption = f"{label} by {name}{format_dataset_suffix(table, dataset)}."
            yield FigureSpec(
                build_file_name(table, "values", metric, dataset, factor),
                _DESIGN_SECTION,
                caption,
                f"{caption} Means: {join_statements(statements)}",
                draw_value_curve(name, points, reference, label),
                is_secondary=metric != table.metrics[0],
            )


def _draw_attributions(table: Table) -> Iterator[FigureSpec]:
    from ibml.report.figures.attribution import draw_attribution

    interactions = {}
    for analysis in table.analyses:
        if analysis.kind == "shapley interactions":
            interactions[analysis.dataset, analysis.metric] = analysis
    for metric, analyses in _select_analyses(table, "shapley").items():
        digits, label = (
            table.study.table.get_digits(metric.name),
            format_axis_label(table, metric),
        )
        for analysis in analyses:
            lines = [(line.name, line.difference) for line in analysis.lines if line.difference]
            pairs = _pair_interactions(lines, interactions.get((analysis.dataset, metric)))
            means = [difference.mean for _, difference in lines if difference.mean is not None]
            total = sum(means) if len(means) == len(lines) else None
            statements = [describe_difference(name, d, digits) for name, d in lines]
            suffix = format_dataset_suffix(table, analysis.dataset)
            caption = (
                f"Each part's share of the whole change in {label}{suffix}, by Shapley values."
            )
            yield FigureSpec(
                build_file_name(table, "attribution", metric, analysis.dataset),
                _DESIGN_SECTION,
                caption,
                f"{caption} {join_statements(statements)}",
                draw_attribution(lines, total, label, pairs, digits),
                is_secondary=metric != table.metrics[0],
            )


def _pair_interactions(
    lines: Sequence[tuple[str, Difference]], interactions: Analysis | None
) -> dict[tuple[str, str], Difference]:
    """Return pair of names -> interaction; the analysis lists the pairs in the same order."""
    if interactions is None:
        return {}
    names = [name for name, _ in lines]
    pairs = {}
    for pair, line in zip(combinations(names, 2), interactions.lines, strict=False):
        if line.difference:
            pairs[pair] = line.difference
    return pairs


def _draw_ranks(table: Table) -> Iterator[FigureSpec]:
    from ibml.report.figures.datasets import draw_critical_difference

    for metric in table.metrics:
        ranks = table.ranks.get(metric.name)
        if ranks is None or len(ranks.ranks) < 2:
            continue
        names = get_arm_names(table, list(ranks.ranks))
        means = collect_dataset_means(table.cells.values(), metric)
        groups = find_nonsignificant_groups(means, metric.higher_is_better, table.study.table.alpha)
        ordered = sorted(ranks.ranks.items(), key=lambda item: item[1])
        statements = [f"{names[arm]} {rank:.2f}" for arm, rank in ordered]
        label = format_axis_label(table, metric)
        datasets = format_count(ranks.datasets, "data set")
        caption = f"Average ranks of {label} over {datasets}, 1 is best."
        named_ranks = {names[arm]: rank for arm, rank in ranks.ranks.items()}
        named_groups = [list(map(names.__getitem__, group)) for group in groups]
        yield FigureSpec(
            build_file_name(table, "ranks", metric),
            "All data sets together",
            caption,
            f"{caption} {join_statements(statements)}",
            draw_critical_difference(named_ranks, named_groups, ranks.datasets, label),
            is_secondary=metric != table.metrics[0],
        )


def _draw_paired_runs(table: Table, results: Results) -> Iterator[FigureSpec]:
    from ibml.report.figures.differences import draw_paired_runs

    reference = table.study.reference
    for dataset, metric in iterate_columns(table):
        values = results.get_values_by_arm(dataset, metric)
        arms = [arm for arm in choose_arms(table, metric) if arm in values]
        names = get_arm_names(table, arms)
        if not any(values[arm] for arm in arms):
            continue
        digits = table.study.table.get_digits(metric.name)
        statements = []
        for arm in arms:
            mean = table.get_cell(dataset, arm, metric.name).summary.mean
            statements.append(f"{names[arm]} {format_number(mean, digits)}")
        label = format_axis_label(table, metric)
        caption = (
            f"{label} of every seed{format_dataset_suffix(table, dataset)}"
            f"{describe_omitted_arms(table)}."
        )
        named_values = {names[arm]: values[arm] for arm in arms}
        yield FigureSpec(
            build_file_name(table, "paired", metric, dataset),
            "Seed by seed",
            caption,
            f"{caption} Means: {join_statements(statements)}",
            draw_paired_runs(named_values, names.get(reference, reference), label),
            is_secondary=metric != table.metrics[0],
        )


def _draw_learning_curves(table: Table, results: Results, curves: Curves) -> Iterator[FigureSpec]:
    from ibml.report.figures.curves import draw_curves

    names = get_arm_names(table, choose_arms(table, table.metrics[0]))
    for dataset in table.datasets:
        modalities = table.study.modalities.get(dataset, ())
        accuracy_titles = {JOINT: "joint"}
        accuracy_titles |= {f"{JOINT}.{modality}": modality for modality in modalities}
        rate_titles = {f"rate.{modality}": modality for modality in modalities}
        for kind, titles, axis, level in (
            ("curves", accuracy_titles, "validation accuracy %", None),
            ("rates", rate_titles, "rate of the modality", 1.0),
        ):
            series = {}
            for metric_name in titles:
                rows = collect_epoch_values(results, curves, dataset, names, metric_name)
                if rows:
                    series[metric_name] = rows
            if not series:
                continue
            first = next(iter(series))
            panels = ", ".join(titles[metric_name] for metric_name in series)
            caption = (
                f"{capitalize_first(axis)} over epochs{format_dataset_suffix(table, dataset)}"
                f"{describe_omitted_arms(table)}: {panels}."
            )
            ends = _describe_last_epoch(series[first], table.study.table.get_digits(first))
            unit = describe_metric(first).unit
            shown_titles = {metric_name: titles[metric_name] for metric_name in series}
            yield FigureSpec(
                build_file_name(table, kind, None, dataset),
                EPOCH_SECTION,
                caption,
                f"{caption} At the end, {titles[first]} {unit}: {join_statements(ends)}",
                draw_curves(series, axis, shown_titles, level),
            )


def _describe_last_epoch(
    rows_by_arm: Mapping[str, Sequence[Sequence[float]]], digits: int
) -> list[str]:
    """Return each arm's mean over seeds at the last epoch."""
    statements = []
    for arm, rows in rows_by_arm.items():
        mean = sum(row[-1] for row in rows) / len(rows)
        statements.append(f"{arm} {format_number(mean, digits)}")
    return statements
