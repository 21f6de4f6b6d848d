"""The figures of a study: which it gets, under which names, and what they show in words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from ibml.config.metrics import Metric, describe
from ibml.report.study.figure_data import JOINT, Curves, chosen_arms, crossed, epochs, names, places, values_of
from ibml.report.study.figure_spec import Drawing, columns_said, difference_said, file_name, label, most, said, where
from ibml.report.study.narrative import data_sets
from ibml.report.tables.analysis import Analysis
from ibml.report.tables.results import Results
from ibml.report.tables.table import Table, data_set_means
from ibml.report.tables.table_spec import capital, confidence, number
from ibml.statistics.datasets import not_told_apart
from ibml.statistics.paired import Difference


def drawings(table: Table, results: Results, curves: Curves) -> list[Drawing]:
    """The figures of a study with their words, in the order in which a page shows them. Without results there are
    none, without curves none of epochs."""
    if not results.ended:
        return []
    made = [
        *_forests(table),
        *_steps(table),
        *_interactions(table, results),
        *_values(table, results),
        *_attributions(table),
        *_ranks(table),
        *_paired(table, results),
        *_epochs(table, results, curves),
    ]
    if len({drawing.name for drawing in made}) < len(made):  # names of data sets that differ in odd characters alone
        made = [Drawing(**{**vars(d), "name": f"{d.name}-{place}"}) for place, d in enumerate(made, start=1)]
    return made


def _forests(table: Table) -> Iterator[Drawing]:
    from ibml.report.figures.differences import forest

    compare = table.study.table
    reference = compare.shown(table.study.reference)
    for metric in table.metrics:
        arms = chosen_arms(table, metric)
        shown = names(table, arms)
        columns: dict[str, dict[str, Difference]] = {compare.shown(dataset): {} for dataset in table.datasets}
        for (dataset, arm, name), cell in table.cells.items():
            if name == metric.name and arm in shown and cell.difference:
                columns[compare.shown(dataset)][shown[arm]] = cell.difference
        if not any(columns.values()):
            continue
        unit = label(table, metric)
        caption = f"Difference to {reference} in {unit}{most(table)}, with {confidence(compare.alpha)} intervals."
        yield Drawing(
            file_name(table, "forest", metric),
            "Differences to the reference",
            caption,
            f"{caption} {columns_said(table, columns, compare.digits(metric.name))}",
            forest(
                columns,
                shown.get(table.study.reference, reference),
                unit,
                metric.higher_is_better,
                compare.alpha,
                compare.digits(metric.name),
            ),
        )


def _of_kind(table: Table, kind: str) -> dict[Metric, list[Analysis]]:
    found: dict[Metric, list[Analysis]] = {}
    for metric in table.metrics:
        of_metric = [a for a in table.analyses if a.kind == kind and a.metric == metric]
        if any(line.difference and line.difference.n for a in of_metric for line in a.lines):
            found[metric] = of_metric
    return found


def _steps(table: Table) -> Iterator[Drawing]:
    """Main effects of factors, and the gains of parts, as forests."""
    from ibml.report.figures.differences import forest

    compare = table.study.table
    for kind, name, against, words in (
        ("main effects", "effects", "the factor's first level", "Main effects"),
        ("gains", "gains", "the step before", "Gain of each part, in order"),
    ):
        for metric, found in _of_kind(table, kind).items():
            columns = {
                compare.shown(a.dataset): {line.name: line.difference for line in a.lines if line.difference}
                for a in found
            }
            caption = f"{words}: {label(table, metric)}, with {confidence(compare.alpha)} intervals."
            yield Drawing(
                file_name(table, name, metric),
                "What the design says",
                caption,
                f"{caption} {columns_said(table, columns, compare.digits(metric.name))}",
                forest(
                    columns,
                    against,
                    label(table, metric),
                    metric.higher_is_better,
                    compare.alpha,
                    compare.digits(metric.name),
                ),
            )


def _interactions(table: Table, results: Results) -> Iterator[Drawing]:
    from ibml.report.figures.effects import interactions

    if table.study.design.type != "factorial":
        return
    for dataset, metric in places(table):
        pairs = crossed(table, results, dataset, metric)
        digits = table.study.table.digits(metric.name)
        means = [
            f"{p.factor_a} {a}, {p.factor_b} {b}: {number(p.means[a, b][0], digits)}"
            for p in pairs
            for a in p.levels_a
            for b in p.levels_b
        ]
        caption = (
            f"Means of {label(table, metric)} by two factors{where(table, dataset)}; parallel lines do not interact."
        )
        yield Drawing(
            file_name(table, "interactions", metric, dataset),
            "What the design says",
            caption,
            f"{caption} {said(means)}",
            interactions(pairs, label(table, metric)),
            further=metric != table.metrics[0],
        )


def _values(table: Table, results: Results) -> Iterator[Drawing]:
    from ibml.report.figures.effects import value_curve

    if table.study.design.type != "one_factor":
        return
    for factor in table.study.design.factors:
        for dataset, metric in places(table):
            points, own = values_of(table, results, factor, dataset, metric)
            digits, shown = table.study.table.digits(metric.name), table.study.table.shown(factor)
            means = [f"{value} {number(sum(found) / len(found) if found else None, digits)}" for value, found in points]
            caption = f"{label(table, metric)} by {shown}{where(table, dataset)}."
            yield Drawing(
                file_name(table, "values", metric, dataset, factor),
                "What the design says",
                caption,
                f"{caption} Means: {said(means)}",
                value_curve(shown, points, own, label(table, metric)),
                further=metric != table.metrics[0],
            )


def _attributions(table: Table) -> Iterator[Drawing]:
    from ibml.report.figures.attribution import attribution

    together = {(a.dataset, a.metric): a for a in table.analyses if a.kind == "shapley interactions"}
    for metric, found in _of_kind(table, "shapley").items():
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
            digits = table.study.table.digits(metric.name)
            of = f"{label(table, metric)}{where(table, analysis.dataset)}"
            caption = f"Each part's share of the whole change in {of}, by Shapley values."
            yield Drawing(
                file_name(table, "attribution", metric, analysis.dataset),
                "What the design says",
                caption,
                f"{caption} {said([difference_said(name, d, digits) for name, d in lines])}",
                attribution(lines, total, label(table, metric), shared, digits),
                further=metric != table.metrics[0],
            )


def _ranks(table: Table) -> Iterator[Drawing]:
    from ibml.report.figures.datasets import critical_difference

    for metric in table.metrics:
        found = table.ranks.get(metric.name)
        if found is None or len(found.ranks) < 2:
            continue
        shown = names(table, list(found.ranks))
        groups = not_told_apart(
            data_set_means(table.cells.values(), metric), metric.higher_is_better, table.study.table.alpha
        )
        ordered = [f"{shown[arm]} {rank:.2f}" for arm, rank in sorted(found.ranks.items(), key=lambda r: r[1])]
        caption = f"Average ranks of {label(table, metric)} over {data_sets(found.datasets)}, 1 is best."
        yield Drawing(
            file_name(table, "ranks", metric),
            "All data sets together",
            caption,
            f"{caption} {said(ordered)}",
            critical_difference(
                {shown[arm]: rank for arm, rank in found.ranks.items()},
                [[shown[arm] for arm in group] for group in groups],
                found.datasets,
                label(table, metric),
            ),
            further=metric != table.metrics[0],
        )


def _paired(table: Table, results: Results) -> Iterator[Drawing]:
    from ibml.report.figures.differences import paired

    for dataset, metric in places(table):
        values = results.by_arm(dataset, metric)
        shown = names(table, [arm for arm in chosen_arms(table, metric) if arm in values])
        if not any(values[arm] for arm in shown):
            continue
        digits = table.study.table.digits(metric.name)
        means = [f"{shown[arm]} {number(table.cell(dataset, arm, metric.name).summary.mean, digits)}" for arm in shown]
        caption = f"{label(table, metric)} of every seed{where(table, dataset)}{most(table)}."
        yield Drawing(
            file_name(table, "paired", metric, dataset),
            "Seed by seed",
            caption,
            f"{caption} Means: {said(means)}",
            paired(
                {shown[arm]: values[arm] for arm in shown},
                shown.get(table.study.reference, table.study.reference),
                label(table, metric),
            ),
            further=metric != table.metrics[0],
        )


def _epochs(table: Table, results: Results, curves: Curves) -> Iterator[Drawing]:
    from ibml.report.figures.curves import curves as draw

    shown = names(table, chosen_arms(table, table.metrics[0]))
    for dataset in table.datasets:
        modality = table.study.modalities.get(dataset, ())
        for kind, asked, axis, level in (
            ("curves", {JOINT: "joint", **{f"{JOINT}.{m}": m for m in modality}}, "validation accuracy %", None),
            ("rates", {f"rate.{m}": m for m in modality}, "rate of the modality", 1.0),
        ):
            series = {name: epochs(results, curves, dataset, shown, name) for name in asked}
            series = {name: arms for name, arms in series.items() if arms}
            if not series:
                continue
            first = next(iter(series))
            ends = [
                f"{arm} {number(sum(row[-1] for row in rows) / len(rows), table.study.table.digits(first))}"
                for arm, rows in series[first].items()
            ]
            panels = ", ".join(asked[name] for name in series)
            caption = f"{capital(axis)} over epochs{where(table, dataset)}{most(table)}: {panels}."
            yield Drawing(
                file_name(table, kind, None, dataset),
                "Epoch by epoch",
                caption,
                f"{caption} At the end, {asked[first]} {describe(first).unit}: {said(ends)}",
                draw(series, axis, {name: asked[name] for name in series}, level),
            )
