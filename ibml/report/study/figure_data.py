"""What a study's figures show: values of arms, seeds and epochs, taken from its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from statistics import fmean
from typing import Any

from ibml.config.metrics.names import Metric, describe_metric
from ibml.records import StudyRecord
from ibml.report.figures.effects import Interaction
from ibml.report.tables.results import Results
from ibml.report.tables.table import Table
from ibml.statistics.paired import paired_difference

Curves = Mapping[str, Mapping[str, Sequence[float]]]
"""Run id -> metric -> values, epoch by epoch."""

MAX_ARMS = 24
"""More in one figure cannot be told apart."""
MAX_PAIRS = 10
JOINT = "val.accuracy"


def list_curve_metrics(study: StudyRecord) -> list[str]:
    """The metrics of every epoch that the figures of a study show: validation accuracy, joint and of each modality,
    and the rates that modalities get."""
    get_arm_names = dict.fromkeys(
        name for dataset in study.datasets for name in study.modalities.get(dataset, ())
    )
    return [
        JOINT,
        *(f"{JOINT}.{name}" for name in get_arm_names),
        *(f"rate.{name}" for name in get_arm_names),
    ]


def get_arm_names(table: Table, arms: Sequence[str]) -> dict[str, str]:
    """Arm -> the name under which it is shown, or its own where two would be shown under one."""
    shown = [table.study.table.get_display_name(arm) for arm in arms]
    return dict(zip(arms, shown if len(set(shown)) == len(shown) else arms, strict=True))


def choose_arms(table: Table, metric: Metric) -> list[str]:
    """All arms, or the reference and those that differ from it the most."""
    if len(table.arms) <= MAX_ARMS:
        return list(table.arms)
    reach = dict.fromkeys(table.arms, 0.0)
    for cell in table.cells.values():
        if cell.metric == metric.name and cell.difference and cell.difference.mean is not None:
            reach[cell.arm] = max(reach[cell.arm], abs(cell.difference.mean))
    most = sorted(reach, key=lambda arm: (arm != table.study.reference, -reach[arm]))[:MAX_ARMS]
    return [arm for arm in table.arms if arm in most]


def collect_epoch_values(
    results: Results, curves: Curves, dataset: str, arms: Mapping[str, str], name: str
) -> dict[str, list[list[float]]]:
    """Shown arm -> a row of values for each seed that logged the metric, in its shown unit."""
    scale = describe_metric(name).scale
    rows: dict[str, list[list[float]]] = {}
    for trial in results.trials:
        record = results.records.get(trial.key)
        if trial.dataset != dataset or trial.arm not in arms or record is None:
            continue
        row = curves.get(record.run_id, {}).get(name, ())
        if len(row):
            rows.setdefault(arms[trial.arm], []).append([scale * value for value in row])
    return {shown: rows[shown] for shown in arms.values() if shown in rows}


def compute_interactions(
    table: Table, results: Results, dataset: str, metric: Metric
) -> list[Interaction]:
    """Marginal means of each two factors' levels over the seeds that have every combination, with their intervals; of
    many pairs those that interact the most."""
    design, values = table.study.design, results.get_values_by_arm(dataset, metric)
    known = [set(by_seed) for by_seed in values.values()]
    seeds = sorted(set.intersection(*known)) if known else []
    found = []
    for (a, a_levels), (b, b_levels) in combinations(design.factors.items(), 2):
        means = {}
        for levels in product(a_levels, b_levels):
            cells = [
                v
                for arm, v in values.items()
                if (design.levels[arm][a], design.levels[arm][b]) == levels
            ]
            by_seed = {seed: fmean(cell[seed] for cell in cells) for seed in seeds if cells}
            d = paired_difference(
                by_seed, dict.fromkeys(by_seed, 0.0), "t", table.study.table.alpha
            )
            means[levels] = (d.mean, d.low, d.high)
        shown = table.study.table.get_display_name
        found.append(Interaction(shown(a), shown(b), tuple(a_levels), tuple(b_levels), means))
    most = sorted(found, key=_measure_interaction, reverse=True)[:MAX_PAIRS]
    return [pair for pair in found if pair in most]


def _measure_interaction(pair: Interaction) -> float:
    """The largest m[a, b] - m[a0, b] - m[a, b0] + m[a0, b0] in size."""
    found = [0.0]
    a0, b0 = pair.levels_a[0], pair.levels_b[0]
    for a, b in product(pair.levels_a[1:], pair.levels_b[1:]):
        four = [pair.means[levels][0] for levels in ((a, b), (a0, b0), (a0, b), (a, b0))]
        both, none, one, other = (float("nan") if mean is None else mean for mean in four)
        found.append(abs(both + none - one - other))
    return max(found)


def collect_factor_values(
    table: Table, results: Results, factor: str, dataset: str, metric: Metric
) -> tuple[list[tuple[object, list[float]]], object]:
    """(value of the factor, results of its seeds), in the order of the design, the base's own among them; and that."""
    study, by_arm = table.study, results.get_values_by_arm(dataset, metric)
    design, levels = study.design, list(study.design.factors[factor])
    arms = {
        of_arm[factor]: arm
        for arm, of_arm in design.levels.items()
        if factor in of_arm and arm != study.reference
    }
    own = _get_config_value(study.configs.get(dataset, {}), design.paths.get(factor, factor))
    points: list[tuple[object, list[float]]] = [
        (design.values[arm], list(by_arm.get(arm, {}).values()))
        for level in levels
        if (arm := arms.get(level))
    ]
    if own is not None:
        place = next((position for position, level in enumerate(levels) if level not in arms), 0)
        points.insert(place, (own, list(by_arm.get(study.reference, {}).values())))
    return points, own


def _get_config_value(config: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of a flat configuration, a mapping if it is the start of longer paths."""
    if path in config:
        return config[path]
    return {
        key.removeprefix(f"{path}."): v for key, v in config.items() if key.startswith(f"{path}.")
    } or None


def iterate_columns(table: Table) -> Iterator[tuple[str, Metric]]:
    """Every metric on every data set."""
    yield from ((dataset, metric) for metric in table.metrics for dataset in table.datasets)
