"""Two studies or two arms beside each other: what differs in configuration and in results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ibml.common.errors import IbmlError
from ibml.config.metrics.names import Metric
from ibml.report.tables.notes import collect_provenance
from ibml.report.tables.results import Results, find_mixtures
from ibml.report.tables.table_spec import (
    MISSING,
    Column,
    Entry,
    Row,
    TableSpec,
    build_interval_entry,
    build_mean_entry,
    build_number_entry,
    build_p_value_entry,
    build_signed_entry,
    format_confidence_level,
)
from ibml.statistics.paired import paired_difference, summarise, with_verdicts


@dataclass(frozen=True)
class ComparisonSide:
    """A study, or one of its arms, as it was named."""

    name: str
    results: Results
    arm: str | None

    def config(self, dataset: str, arm: str) -> dict[str, Any]:
        """The configuration of an arm: dotted path -> value; None where it has no such part."""
        study = self.results.study
        return {**study.configs.get(dataset, {}), **study.changes.get(dataset, {}).get(arm, {})}


Pairing = list[tuple[tuple[str, str], tuple[str, str]]]
"""((data set, arm) of the first side, (data set, arm) of the second), for all that is compared."""


def compare(first: ComparisonSide, second: ComparisonSide) -> list[TableSpec]:
    """What differs in the settings, in the configuration, and in the results, the second against the first."""
    if (first.arm is None) != (second.arm is None):
        raise IbmlError("compare two studies, or two arms (STUDY/ARM); not a study with an arm")
    pairs = _match_cells(first, second)
    found = [
        _compare_settings(first, second),
        _compare_configs(first, second, pairs),
        _compare_results(first, second, pairs),
    ]
    return [grid for grid in found if grid.rows]


def _match_cells(first: ComparisonSide, second: ComparisonSide) -> Pairing:
    one, two = first.results.study, second.results.study
    shared = [dataset for dataset in one.datasets if dataset in two.datasets]
    datasets = [(name, name) for name in shared]
    if not shared and len(one.datasets) == len(two.datasets) == 1:
        datasets = [(one.datasets[0], two.datasets[0])]
    if first.arm is not None and second.arm is not None:
        arms = [(first.arm, second.arm)]
    else:
        arms = [(arm, arm) for arm in one.arms if arm in two.arms]
        left = [arm for arm in two.arms if arm not in one.arms]
        for a, b in datasets[:1]:  # an arm may have another name there
            same = {arm: first.config(a, arm) for arm in one.arms if arm not in two.arms}
            arms += [
                (x, y) for y in left for x, config in same.items() if config == second.config(b, y)
            ]
    return [((a, x), (b, y)) for a, b in datasets for x, y in arms]


def _compare_settings(first: ComparisonSide, second: ComparisonSide) -> TableSpec:
    rows = []
    for (name, one), (_, two) in zip(_list_facts(first), _list_facts(second), strict=True):
        if one != two or (name == "mixed" and one):
            rows.append((Entry(name), Entry(one), Entry(two)))
    return TableSpec(
        "settings that differ", _build_side_columns(first, second, "setting"), tuple(rows)
    )


def _list_facts(side: ComparisonSide) -> Iterator[tuple[str, str]]:
    study, results, found = side.results.study, side.results, collect_provenance(side.results)
    yield "study", study.name
    yield "question", study.description
    yield "file hash", study.file_hash[:12]
    yield "changed on the command line", " ".join(study.overrides)
    yield "design", study.design.type
    yield "reference", study.reference
    yield "arms", ", ".join(study.arms)
    yield "data sets", ", ".join(study.datasets)
    adaptive = f", from {study.adaptive.min} on as decided" if study.adaptive else ""
    yield "seeds", ", ".join(map(str, study.seeds)) + adaptive
    yield (
        "epochs",
        ", ".join(f"{name} {'/'.join(map(str, of))}" for name, of in study.epochs.items()),
    )
    yield "test", f"{study.table.test}, alpha {study.table.alpha:g}"
    yield "tuning", study.tuning_note
    yield "results", f"{found.results} of {found.keys}"
    yield "code", ", ".join(found.revisions)
    yield "machine", ", ".join(found.platforms)
    yield "data", ", ".join(found.fingerprints)
    yield "mixed", "; ".join(find_mixtures(results))


def _compare_configs(first: ComparisonSide, second: ComparisonSide, pairs: Pairing) -> TableSpec:
    rows: list[Row | str] = []
    for (a, x), (b, y) in pairs:
        one, two = first.config(a, x), second.config(b, y)
        paths = [path for path in dict.fromkeys([*one, *two]) if one.get(path) != two.get(path)]
        lines = [
            (Entry(path), Entry(_format_value(one.get(path))), Entry(_format_value(two.get(path))))
            for path in paths
        ]
        rows += [_format_place(a, x, b, y), *lines] if lines and len(pairs) > 1 else lines
    return TableSpec(
        "configuration that differs", _build_side_columns(first, second, "path"), tuple(rows)
    )


def _compare_results(first: ComparisonSide, second: ComparisonSide, pairs: Pairing) -> TableSpec:
    alpha = first.results.study.table.alpha
    known = {metric.name for metric in second.results.metrics}
    metrics = [metric for metric in first.results.metrics if metric.name in known]
    rows: list[Row | str] = []
    for (a, x), (b, y) in pairs:
        lines = list(
            _build_result_rows(metrics, first.results, (a, x), second.results, (b, y), alpha)
        )
        rows += [_format_place(a, x, b, y), *lines] if lines and len(pairs) > 1 else lines
    interval = f"{format_confidence_level(alpha)} interval"
    columns = (
        Column("metric", "name"),
        Column(first.name, "measure"),
        Column(second.name, "measure"),
        *map(Column, ("pairs", "difference", interval, "p (Holm)")),
        Column("second", "words"),
    )
    test = {"t": "t-test", "wilcoxon": "signed-rank test"}[first.results.study.table.test]
    return TableSpec(
        f"results (second minus first over common seeds, paired {test})", columns, tuple(rows)
    )


def _build_result_rows(
    metrics: list[Metric],
    first: Results,
    one: tuple[str, str],
    second: Results,
    two: tuple[str, str],
    alpha: float,
) -> Iterator[Row]:
    table = first.study.table
    values = {
        metric: (first.values(*one, metric), second.values(*two, metric)) for metric in metrics
    }
    found = {
        metric: paired_difference(y, x, table.test, alpha) for metric, (x, y) in values.items()
    }
    keys, others = _get_keys(first, one), _get_keys(second, two)
    common = keys.keys() & others.keys()
    same = bool(common) and all(keys[seed] == others[seed] for seed in common)
    for metric, d in with_verdicts(found, None, alpha).items():
        x, y = values[metric]
        if not x and not y:
            continue
        better = d.mean is not None and (d.mean > 0) == metric.higher_is_better
        digits = table.get_digits(metric.name)
        words = ("better" if better else "worse") if d.verdict == "effect detected" else d.verdict
        yield (
            Entry(table.format_metric_name(metric)),
            build_mean_entry(summarise(list(x.values())), digits),
            build_mean_entry(summarise(list(y.values())), digits),
            build_number_entry(d.n, 0),
            build_signed_entry(d.mean, digits),
            build_interval_entry(d.low, d.high, digits),
            build_p_value_entry(d.p_corrected),
            Entry("the same trials" if same else words),
        )


def _get_keys(results: Results, cell: tuple[str, str]) -> dict[int, str]:
    return {trial.seed: trial.key for trial in results.trials if (trial.dataset, trial.arm) == cell}


def _format_place(a: str, x: str, b: str, y: str) -> str:
    return f"{a} · {x}" if (a, x) == (b, y) else f"{a} · {x} | {b} · {y}"


def _build_side_columns(
    first: ComparisonSide, second: ComparisonSide, lead: str
) -> tuple[Column, ...]:
    return Column(lead, "name"), Column(first.name, "words"), Column(second.name, "words")


def _format_value(value: Any) -> str:
    return MISSING if value is None else str(value)
