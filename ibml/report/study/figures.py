"""The figures of a study: which it gets, under which names, and what they show in words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

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
from ibml.report.study.narrative import format_dataset_count
from ibml.report.tables.analysis import Analysis
from ibml.report.tables.results import Results
from ibml.report.tables.table import Table, collect_dataset_means
from ibml.report.tables.table_spec import capitalize_first, format_confidence_level, format_number
from ibml.statistics.datasets import not_told_apart
from ibml.statistics.paired import Difference


def build_figures(table: Table, results: Results, curves: Curves) -> list[FigureSpec]:
    """The figures of a study with their words, in the order in which a page shows them. Without results there are
    none, without curves none of epochs."""
    if not results.ended:
        return []
    made = [
        *_draw_forests(table),
        *_draw_effects_and_gains(table),
        *_draw_interactions(table, results),
        *_draw_values(table, results),
        *_draw_attributions(table),
        *_draw_ranks(table),
        *_draw_paired_runs(table, results),
        *_draw_learning_curves(table, results, curves),
    ]
    if len({drawing.name for drawing in made}) < len(
        made
    ):  # names of data sets that differ in odd characters alone
        made = [
            FigureSpec(**{**vars(d), "name": f"{d.name}-{place}"})
            for place, d in enumerate(made, start=1)
        ]
    return made


def _draw_forests(table: Table) -> Iterator[FigureSpec]:
    from ibml.report.figures.differences import draw_forest

    compare = table.study.table
    reference = compare.get_display_name(table.study.reference)
    for metric in table.metrics:
        arms = choose_arms(table, metric)
        shown = get_arm_names(table, arms)
        columns: dict[str, dict[str, Difference]] = {
            compare.get_display_name(dataset): {} for dataset in table.datasets
        }
        for (dataset, arm, name), cell in table.cells.items():
            if name == metric.name and arm in shown and cell.difference:
                columns[compare.get_display_name(dataset)][shown[arm]] = cell.difference
        if not any(columns.values()):
            continue
        unit = format_axis_label(table, metric)
        caption = f"Difference to {reference} in {unit}{describe_omitted_arms(table)}, with {format_confidence_level(compare.alpha)} intervals."
        yield FigureSpec(
            build_file_name(table, "forest", metric),
            "Differences to the reference",
            caption,
            f"{caption} {describe_columns(table, columns, compare.get_digits(metric.name))}",
            draw_forest(
                columns,
                shown.get(table.study.reference, reference),
                unit,
                metric.higher_is_better,
                compare.alpha,
                compare.get_digits(metric.name),
            ),
        )


def _select_analyses(table: Table, kind: str) -> dict[Metric, list[Analysis]]:
    found: dict[Metric, list[Analysis]] = {}
    for metric in table.metrics:
        of_metric = [a for a in table.analyses if a.kind == kind and a.metric == metric]
        if any(line.difference and line.difference.n for a in of_metric for line in a.lines):
            found[metric] = of_metric
    return found


def _draw_effects_and_gains(table: Table) -> Iterator[FigureSpec]:
    """Main effects of factors, and the gains of parts, as forests."""
    from ibml.report.figures.differences import draw_forest

    compare = table.study.table
    for kind, name, against, words in (
        ("main effects", "effects", "the factor's first level", "Main effects"),
        ("gains", "gains", "the step before", "Gain of each part, in order"),
    ):
        for metric, found in _select_analyses(table, kind).items():
            columns = {
                compare.get_display_name(a.dataset): {
                    line.name: line.difference for line in a.lines if line.difference
                }
                for a in found
            }
            caption = f"{words}: {format_axis_label(table, metric)}, with {format_confidence_level(compare.alpha)} intervals."
            yield FigureSpec(
                build_file_name(table, name, metric),
                "What the design says",
                caption,
                f"{caption} {describe_columns(table, columns, compare.get_digits(metric.name))}",
                draw_forest(
                    columns,
                    against,
                    format_axis_label(table, metric),
                    metric.higher_is_better,
                    compare.alpha,
                    compare.get_digits(metric.name),
                ),
            )


def _draw_interactions(table: Table, results: Results) -> Iterator[FigureSpec]:
    from ibml.report.figures.effects import draw_interactions

    if table.study.design.type != "factorial":
        return
    for dataset, metric in iterate_columns(table):
        pairs = compute_interactions(table, results, dataset, metric)
        digits = table.study.table.get_digits(metric.name)
        means = [
            f"{p.factor_a} {a}, {p.factor_b} {b}: {format_number(p.means[a, b][0], digits)}"
            for p in pairs
            for a in p.levels_a
            for b in p.levels_b
        ]
        caption = f"Means of {format_axis_label(table, metric)} by two factors{format_dataset_suffix(table, dataset)}; parallel lines do not interact."
        yield FigureSpec(
            build_file_name(table, "interactions", metric, dataset),
            "What the design says",
            caption,
            f"{caption} {join_statements(means)}",
            draw_interactions(pairs, format_axis_label(table, metric)),
            further=metric != table.metrics[0],
        )


def _draw_values(table: Table, results: Results) -> Iterator[FigureSpec]:
    from ibml.report.figures.effects import draw_value_curve

    if table.study.design.type != "one_factor":
        return
    for factor in table.study.design.factors:
        for dataset, metric in iterate_columns(table):
            points, own = collect_factor_values(table, results, factor, dataset, metric)
            digits, shown = (
                table.study.table.get_digits(metric.name),
                table.study.table.get_display_name(factor),
            )
            means = [
                f"{value} {format_number(sum(found) / len(found) if found else None, digits)}"
                for value, found in points
            ]
            caption = f"{format_axis_label(table, metric)} by {shown}{format_dataset_suffix(table, dataset)}."
            yield FigureSpec(
                build_file_name(table, "values", metric, dataset, factor),
                "What the design says",
                caption,
                f"{caption} Means: {join_statements(means)}",
                draw_value_curve(shown, points, own, format_axis_label(table, metric)),
                further=metric != table.metrics[0],
            )


def _draw_attributions(table: Table) -> Iterator[FigureSpec]:
    from ibml.report.figures.attribution import draw_attribution

    together = {
        (a.dataset, a.metric): a for a in table.analyses if a.kind == "shapley interactions"
    }
    for metric, found in _select_analyses(table, "shapley").items():
        for analysis in found:
            lines = [(line.name, line.difference) for line in analysis.lines if line.difference]
            pairs = combinations([name for name, _ in lines], 2)
            rest = together.get((analysis.dataset, metric))
            shared = {
                pair: line.difference
                for pair, line in zip(pairs, rest.lines if rest else (), strict=False)
                if line.difference
            }
            means = [d.mean for _, d in lines if d.mean is not None]
            total = sum(means) if len(means) == len(lines) else None
            digits = table.study.table.get_digits(metric.name)
            of = f"{format_axis_label(table, metric)}{format_dataset_suffix(table, analysis.dataset)}"
            caption = f"Each part's share of the whole change in {of}, by Shapley values."
            yield FigureSpec(
                build_file_name(table, "attribution", metric, analysis.dataset),
                "What the design says",
                caption,
                f"{caption} {join_statements([describe_difference(name, d, digits) for name, d in lines])}",
                draw_attribution(lines, total, format_axis_label(table, metric), shared, digits),
                further=metric != table.metrics[0],
            )


def _draw_ranks(table: Table) -> Iterator[FigureSpec]:
    from ibml.report.figures.datasets import draw_critical_difference

    for metric in table.metrics:
        found = table.ranks.get(metric.name)
        if found is None or len(found.ranks) < 2:
            continue
        shown = get_arm_names(table, list(found.ranks))
        groups = not_told_apart(
            collect_dataset_means(table.cells.values(), metric),
            metric.higher_is_better,
            table.study.table.alpha,
        )
        ordered = [
            f"{shown[arm]} {rank:.2f}"
            for arm, rank in sorted(found.ranks.items(), key=lambda r: r[1])
        ]
        caption = f"Average ranks of {format_axis_label(table, metric)} over {format_dataset_count(found.datasets)}, 1 is best."
        yield FigureSpec(
            build_file_name(table, "ranks", metric),
            "All data sets together",
            caption,
            f"{caption} {join_statements(ordered)}",
            draw_critical_difference(
                {shown[arm]: rank for arm, rank in found.ranks.items()},
                [[shown[arm] for arm in group] for group in groups],
                found.datasets,
                format_axis_label(table, metric),
            ),
            further=metric != table.metrics[0],
        )


def _draw_paired_runs(table: Table, results: Results) -> Iterator[FigureSpec]:
    from ibml.report.figures.differences import draw_paired_runs

    for dataset, metric in iterate_columns(table):
        values = results.get_values_by_arm(dataset, metric)
        shown = get_arm_names(table, [arm for arm in choose_arms(table, metric) if arm in values])
        if not any(values[arm] for arm in shown):
            continue
        digits = table.study.table.get_digits(metric.name)
        means = [
            f"{shown[arm]} {format_number(table.get_cell(dataset, arm, metric.name).summary.mean, digits)}"
            for arm in shown
        ]
        caption = f"{format_axis_label(table, metric)} of every seed{format_dataset_suffix(table, dataset)}{describe_omitted_arms(table)}."
        yield FigureSpec(
            build_file_name(table, "paired", metric, dataset),
            "Seed by seed",
            caption,
            f"{caption} Means: {join_statements(means)}",
            draw_paired_runs(
                {shown[arm]: values[arm] for arm in shown},
                shown.get(table.study.reference, table.study.reference),
                format_axis_label(table, metric),
            ),
            further=metric != table.metrics[0],
        )


def _draw_learning_curves(table: Table, results: Results, curves: Curves) -> Iterator[FigureSpec]:
    from ibml.report.figures.curves import curves as draw

    shown = get_arm_names(table, choose_arms(table, table.metrics[0]))
    for dataset in table.datasets:
        modality = table.study.modalities.get(dataset, ())
        for kind, asked, axis, level in (
            (
                "curves",
                {JOINT: "joint", **{f"{JOINT}.{m}": m for m in modality}},
                "validation accuracy %",
                None,
            ),
            ("rates", {f"rate.{m}": m for m in modality}, "rate of the modality", 1.0),
        ):
            series = {
                name: collect_epoch_values(results, curves, dataset, shown, name) for name in asked
            }
            series = {name: arms for name, arms in series.items() if arms}
            if not series:
                continue
            first = next(iter(series))
            ends = [
                f"{arm} {format_number(sum(row[-1] for row in rows) / len(rows), table.study.table.get_digits(first))}"
                for arm, rows in series[first].items()
            ]
            panels = ", ".join(asked[name] for name in series)
            caption = f"{capitalize_first(axis)} over epochs{format_dataset_suffix(table, dataset)}{describe_omitted_arms(table)}: {panels}."
            yield FigureSpec(
                build_file_name(table, kind, None, dataset),
                "Epoch by epoch",
                caption,
                f"{caption} At the end, {asked[first]} {describe_metric(first).unit}: {join_statements(ends)}",
                draw(series, axis, {name: asked[name] for name in series}, level),
            )
