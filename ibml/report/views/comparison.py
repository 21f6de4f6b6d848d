"""Comparison of two studies or two arms: settings, configurations and results."""

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
from ibml.statistics.paired import Difference, paired_difference, summarise, with_verdicts

Cell = tuple[str, str]
"""(data set, arm)."""

CellPair = tuple[Cell, Cell]
"""A cell of the first side, and the cell of the second side that it is compared with."""


@dataclass(frozen=True)
class ComparisonSide:
    """One side of a comparison: a study, or one of its arms.

    Attributes:
        name: Name that the user gave, used as heading.
        results: Results of the study.
        arm: Name of the arm; None for the whole study.
    """

    name: str
    results: Results
    arm: str | None

    def get_config(self, dataset: str, arm: str) -> dict[str, Any]:
        """Return the configuration of an arm.

        Args:
            dataset: Name of the data set.
            arm: Name of the arm.

        Returns:
            Dotted path -> value; None for a setting that the arm does not have.
        """
        study = self.results.study
        changes = study.changes.get(dataset, {}).get(arm, {})
        return {**study.configs.get(dataset, {}), **changes}


def compare(first: ComparisonSide, second: ComparisonSide) -> list[TableSpec]:
    """Compare two studies, or two arms.

    Args:
        first: Baseline of the comparison.
        second: Side that is compared with it.

    Returns:
        Tables of settings, configurations and results, without the empty ones.

    Raises:
        IbmlError: One side is a study and the other one an arm.
    """
    if (first.arm is None) != (second.arm is None):
        raise IbmlError(
            "cannot compare a study with an arm; name two studies, or two arms (STUDY/ARM)"
        )
    pairs = _match_cells(first, second)
    specs = [
        _compare_settings(first, second),
        _compare_configs(first, second, pairs),
        _compare_results(first, second, pairs),
    ]
    return [spec for spec in specs if spec.rows]


def _match_cells(first: ComparisonSide, second: ComparisonSide) -> list[CellPair]:
    """Return the cells to compare: those with the same names, or with the same configuration."""
    datasets = _match_datasets(first, second)
    if first.arm is not None and second.arm is not None:
        arms = [(first.arm, second.arm)]
    else:
        first_arms, second_arms = first.results.study.arms, second.results.study.arms
        arms = [(arm, arm) for arm in first_arms if arm in second_arms]
        if datasets:
            arms += _match_renamed_arms(first, second, *datasets[0])
    pairs = []
    for first_dataset, second_dataset in datasets:
        for first_arm, second_arm in arms:
            pairs.append(((first_dataset, first_arm), (second_dataset, second_arm)))
    return pairs


def _match_datasets(first: ComparisonSide, second: ComparisonSide) -> list[tuple[str, str]]:
    first_names, second_names = first.results.study.datasets, second.results.study.datasets
    shared = [(name, name) for name in first_names if name in second_names]
    if not shared and len(first_names) == len(second_names) == 1:
        return [(first_names[0], second_names[0])]
    return shared


def _match_renamed_arms(
    first: ComparisonSide, second: ComparisonSide, first_dataset: str, second_dataset: str
) -> list[tuple[str, str]]:
    """Return pairs of arms with different names and the same configuration."""
    first_arms, second_arms = first.results.study.arms, second.results.study.arms
    candidates = {}
    for arm in first_arms:
        if arm not in second_arms:
            candidates[arm] = first.get_config(first_dataset, arm)
    pairs = []
    for arm in second_arms:
        if arm in first_arms:
            continue
        config = second.get_config(second_dataset, arm)
        pairs += [(name, arm) for name, candidate in candidates.items() if candidate == config]
    return pairs


def _compare_settings(first: ComparisonSide, second: ComparisonSide) -> TableSpec:
    rows = []
    facts = zip(_list_facts(first), _list_facts(second), strict=True)
    for (name, first_text), (_, second_text) in facts:
        if first_text != second_text or (name == "mixed" and first_text):
            rows.append((Entry(name), Entry(first_text), Entry(second_text)))
    return TableSpec(
        "settings that differ", _build_side_columns(first, second, "setting"), tuple(rows)
    )


def _list_facts(side: ComparisonSide) -> Iterator[tuple[str, str]]:
    """Yield the settings of a study as pairs of term and description."""
    study, found = side.results.study, collect_provenance(side.results)
    yield "study", study.name
    yield "question", study.description
    yield "file hash", study.file_hash[:12]
    yield "command-line overrides", " ".join(study.overrides)
    yield "design", study.design.type
    yield "reference", study.reference
    yield "arms", ", ".join(study.arms)
    yield "data sets", ", ".join(study.datasets)
    adaptive = f", from {study.adaptive.min} on as decided" if study.adaptive else ""
    yield "seeds", ", ".join(map(str, study.seeds)) + adaptive
    epochs = [f"{name} {'/'.join(map(str, of))}" for name, of in study.epochs.items()]
    yield "epochs", ", ".join(epochs)
    yield "test", f"{study.table.test}, alpha {study.table.alpha:g}"
    yield "tuning", study.tuning_note
    yield "results", f"{found.results} of {found.keys}"
    yield "code", ", ".join(found.revisions)
    yield "machine", ", ".join(found.platforms)
    yield "data", ", ".join(found.fingerprints)
    yield "mixed", "; ".join(find_mixtures(side.results))


def _compare_configs(
    first: ComparisonSide, second: ComparisonSide, pairs: list[CellPair]
) -> TableSpec:
    rows: list[Row | str] = []
    for first_cell, second_cell in pairs:
        first_config = first.get_config(*first_cell)
        second_config = second.get_config(*second_cell)
        pair_rows = []
        for path in dict.fromkeys([*first_config, *second_config]):
            first_value, second_value = first_config.get(path), second_config.get(path)
            if first_value != second_value:
                texts = (path, _format_value(first_value), _format_value(second_value))
                pair_rows.append(tuple(map(Entry, texts)))
        if pair_rows and len(pairs) > 1:
            rows.append(_format_place(first_cell, second_cell))
        rows += pair_rows
    columns = _build_side_columns(first, second, "path")
    return TableSpec("configuration that differs", columns, tuple(rows))


def _compare_results(
    first: ComparisonSide, second: ComparisonSide, pairs: list[CellPair]
) -> TableSpec:
    settings = first.results.study.table
    known = {metric.name for metric in second.results.metrics}
    metrics = [metric for metric in first.results.metrics if metric.name in known]
    rows: list[Row | str] = []
    for pair in pairs:
        pair_rows = list(_build_result_rows(metrics, first.results, second.results, pair))
        if pair_rows and len(pairs) > 1:
            rows.append(_format_place(*pair))
        rows += pair_rows
    interval = f"{format_confidence_level(settings.alpha)} interval"
    columns = (
        Column("metric", "name"),
        Column(first.name, "measure"),
        Column(second.name, "measure"),
        *map(Column, ("pairs", "difference", interval, "p (Holm)")),
        Column("second", "words"),
    )
    test = {"t": "t-test", "wilcoxon": "signed-rank test"}[settings.test]
    title = f"results (second minus first over common seeds, paired {test})"
    return TableSpec(title, columns, tuple(rows))


def _build_result_rows(
    metrics: list[Metric], first: Results, second: Results, pair: CellPair
) -> Iterator[Row]:
    settings = first.study.table
    first_cell, second_cell = pair
    values = {}
    differences = {}
    for metric in metrics:
        x, y = first.get_values(*first_cell, metric), second.get_values(*second_cell, metric)
        values[metric] = (x, y)
        differences[metric] = paired_difference(y, x, settings.test, settings.alpha)
    same_trials = _have_same_trials(first, second, pair)
    for metric, difference in with_verdicts(differences, None, settings.alpha).items():
        x, y = values[metric]
        if not x and not y:
            continue
        digits = settings.get_digits(metric.name)
        verdict = "the same trials" if same_trials else _format_verdict(difference, metric)
        yield (
            Entry(settings.format_metric_name(metric)),
            build_mean_entry(summarise(list(x.values())), digits),
            build_mean_entry(summarise(list(y.values())), digits),
            build_number_entry(difference.n, 0),
            build_signed_entry(difference.mean, digits),
            build_interval_entry(difference.low, difference.high, digits),
            build_p_value_entry(difference.p_corrected),
            Entry(verdict),
        )


def _have_same_trials(first: Results, second: Results, pair: CellPair) -> bool:
    """Return True if both cells share seeds, and all shared seeds have the same trial key."""
    first_keys, second_keys = _get_keys(first, pair[0]), _get_keys(second, pair[1])
    common = first_keys.keys() & second_keys.keys()
    return bool(common) and all(first_keys[seed] == second_keys[seed] for seed in common)


def _format_verdict(difference: Difference, metric: Metric) -> str:
    if difference.verdict != "effect detected":
        return difference.verdict
    rises = difference.mean is not None and difference.mean > 0
    is_better = difference.mean is not None and rises == metric.higher_is_better
    return "better" if is_better else "worse"


def _get_keys(results: Results, cell: Cell) -> dict[int, str]:
    """Return seed -> trial key of a cell."""
    return {t.seed: t.key for t in results.trials if (t.dataset, t.arm) == cell}


def _format_place(first: Cell, second: Cell) -> str:
    if first == second:
        return " · ".join(first)
    return f"{' · '.join(first)} | {' · '.join(second)}"


def _build_side_columns(
    first: ComparisonSide, second: ComparisonSide, heading: str
) -> tuple[Column, ...]:
    return Column(heading, "name"), Column(first.name, "words"), Column(second.name, "words")


def _format_value(value: Any) -> str:
    return MISSING if value is None else str(value)
