"""Data of a study's figures: values of arms, seeds and epochs, taken from its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from statistics import fmean
from typing import Any

from ibml.config.metrics.names import Metric, describe_metric
from ibml.records import StudyRecord
from ibml.report.figures.effects import Estimate, Interaction
from ibml.report.tables.results import Results
from ibml.report.tables.table import Table
from ibml.statistics.paired import paired_difference

Curves = Mapping[str, Mapping[str, Sequence[float]]]
"""Run id -> metric -> value at each epoch."""

MAX_ARMS = 24
"""More arms cannot be distinguished in one figure."""
MAX_PAIRS = 10
"""Pairs of factors in one figure."""
JOINT = "val.accuracy"


def list_curve_metrics(study: StudyRecord) -> list[str]:
    """Return the per-epoch metrics that the figures of a study show.

    Args:
        study: Record of the study.

    Returns:
        Validation accuracy, joint and per modality, and the training rate of each modality.
    """
    modalities: dict[str, None] = {}
    for dataset in study.datasets:
        modalities |= dict.fromkeys(study.modalities.get(dataset, ()))
    accuracies = [f"{JOINT}.{name}" for name in modalities]
    rates = [f"rate.{name}" for name in modalities]
    return [JOINT, *accuracies, *rates]


def get_arm_names(table: Table, arms: Sequence[str]) -> dict[str, str]:
    """Return arm -> displayed name, or the arm itself if two arms have the same name."""
    names = [table.study.table.get_display_name(arm) for arm in arms]
    if len(set(names)) < len(names):
        return {arm: arm for arm in arms}
    return dict(zip(arms, names, strict=True))


def choose_arms(table: Table, metric: Metric) -> list[str]:
    """Return the arms of a figure: all, or the `MAX_ARMS` that matter the most.

    Args:
        table: The table of the study.
        metric: Metric of the figure.

    Returns:
        Arms in the order of the table. If there are too many: the reference and the arms with the
        largest differences from it.
    """
    if len(table.arms) <= MAX_ARMS:
        return list(table.arms)
    largest = dict.fromkeys(table.arms, 0.0)
    for cell in table.cells.values():
        if cell.metric == metric.name and cell.difference and cell.difference.mean is not None:
            largest[cell.arm] = max(largest[cell.arm], abs(cell.difference.mean))
    reference = table.study.reference
    ordered = sorted(largest, key=lambda arm: (arm != reference, -largest[arm]))
    chosen = ordered[:MAX_ARMS]
    return [arm for arm in table.arms if arm in chosen]


def collect_epoch_values(
    results: Results, curves: Curves, dataset: str, arms: Mapping[str, str], name: str
) -> dict[str, list[list[float]]]:
    """Return the values of a metric at each epoch.

    Args:
        results: Results of the study.
        curves: Per-epoch values by run.
        dataset: Name of the data set.
        arms: Arm -> displayed name.
        name: Name of the metric.

    Returns:
        Displayed name -> one row per seed that logged the metric, in the displayed unit.
    """
    scale = describe_metric(name).scale
    rows: dict[str, list[list[float]]] = {}
    for trial in results.trials:
        record = results.records.get(trial.key)
        if trial.dataset != dataset or trial.arm not in arms or record is None:
            continue
        values = curves.get(record.run_id, {}).get(name, ())
        if len(values):
            row = [scale * value for value in values]
            rows.setdefault(arms[trial.arm], []).append(row)
    return {shown: rows[shown] for shown in arms.values() if shown in rows}


def compute_interactions(
    table: Table, results: Results, dataset: str, metric: Metric
) -> list[Interaction]:
    """Compute the marginal means of each pair of factors with their intervals.

    Only seeds with a result of every combination count.

    Args:
        table: The table of the study.
        results: Results of the study.
        dataset: Name of the data set.
        metric: The metric.

    Returns:
        One item per pair; of many pairs the `MAX_PAIRS` with the strongest interaction.
    """
    design, values = table.study.design, results.get_values_by_arm(dataset, metric)
    get_name = table.study.table.get_display_name
    seed_sets = [set(by_seed) for by_seed in values.values()]
    seeds = sorted(set.intersection(*seed_sets)) if seed_sets else []
    found = []
    for (a, a_levels), (b, b_levels) in combinations(design.factors.items(), 2):
        means: dict[tuple[str, str], Estimate] = {}
        for levels in product(a_levels, b_levels):
            cells = []
            for arm, by_seed in values.items():
                if (design.levels[arm][a], design.levels[arm][b]) == levels:
                    cells.append(by_seed)
            means[levels] = _estimate_mean(cells, seeds, table.study.table.alpha)
        found.append(Interaction(get_name(a), get_name(b), tuple(a_levels), tuple(b_levels), means))
    strongest = sorted(found, key=_measure_interaction, reverse=True)[:MAX_PAIRS]
    return [pair for pair in found if pair in strongest]


def _estimate_mean(
    cells: Sequence[Mapping[int, float]], seeds: Sequence[int], alpha: float
) -> Estimate:
    """Return the mean over cells and seeds with the interval over seeds."""
    by_seed = {}
    if cells:
        for seed in seeds:
            by_seed[seed] = fmean(cell[seed] for cell in cells)
    zeros = dict.fromkeys(by_seed, 0.0)
    difference = paired_difference(by_seed, zeros, "t", alpha)
    return difference.mean, difference.low, difference.high


def _measure_interaction(pair: Interaction) -> float:
    """Return the largest absolute m[a, b] - m[a0, b] - m[a, b0] + m[a0, b0]."""
    largest = 0.0
    a0, b0 = pair.levels_a[0], pair.levels_b[0]
    for a, b in product(pair.levels_a[1:], pair.levels_b[1:]):
        cells = ((a, b), (a0, b0), (a0, b), (a, b0))
        means = [pair.means[cell][0] for cell in cells]
        known = [mean for mean in means if mean is not None]
        if len(known) == len(means):
            both, neither, only_b, only_a = known
            largest = max(largest, abs(both + neither - only_b - only_a))
    return largest


def collect_factor_values(
    table: Table, results: Results, factor: str, dataset: str, metric: Metric
) -> tuple[list[tuple[object, list[float]]], object]:
    """Return the results at each value of a factor, including the reference's own value.

    Args:
        table: The table of the study.
        results: Results of the study.
        factor: Name of the factor.
        dataset: Name of the data set.
        metric: The metric.

    Returns:
        Pairs of value and results of its seeds, in the order of the design; and the value that the
        reference has.
    """
    study, by_arm = table.study, results.get_values_by_arm(dataset, metric)
    design, levels = study.design, list(study.design.factors[factor])
    arms = {}
    for arm, level_by_factor in design.levels.items():
        if factor in level_by_factor and arm != study.reference:
            arms[level_by_factor[factor]] = arm
    points: list[tuple[object, list[float]]] = []
    for level in levels:
        if level in arms:
            arm = arms[level]
            points.append((design.values[arm], list(by_arm.get(arm, {}).values())))
    path = design.paths.get(factor, factor)
    reference_value = _get_config_value(study.configs.get(dataset, {}), path)
    if reference_value is not None:
        missing = [position for position, level in enumerate(levels) if level not in arms]
        position = missing[0] if missing else 0
        values = list(by_arm.get(study.reference, {}).values())
        points.insert(position, (reference_value, values))
    return points, reference_value


def _get_config_value(config: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path of a flat configuration.

    A mapping if the path is the beginning of longer ones; None if it is missing.
    """
    if path in config:
        return config[path]
    prefix = f"{path}."
    nested = {}
    for key, value in config.items():
        if key.startswith(prefix):
            nested[key.removeprefix(prefix)] = value
    return nested or None


def iterate_columns(table: Table) -> Iterator[tuple[str, Metric]]:
    """Yield (data set, metric) for every column of the table, ordered by metric."""
    yield from ((dataset, metric) for metric in table.metrics for dataset in table.datasets)
