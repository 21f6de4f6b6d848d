"""Estimate of the seeds that a study needs, from the variance of its results so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ibml.common.errors import IbmlError, format_suggestion
from ibml.common.formatting import format_count
from ibml.config.metrics.names import Metric
from ibml.records import StudyRecord
from ibml.report.tables.results import Results
from ibml.report.tables.table_spec import (
    MISSING,
    Column,
    Entry,
    TableSpec,
    build_number_entry,
    build_range_entry,
)
from ibml.statistics.paired import TestName
from ibml.statistics.power import compute_required_seeds, sd_interval

MAX_SEEDS = 10_000
"""Largest number of seeds of a study."""


@dataclass(frozen=True)
class SampleSize:
    """Number of seeds that one arm needs on one data set.

    With fewer than two pairs nothing can be estimated, and all fields after `pairs` are None. With
    more pairs, a number of seeds that is None is above `MAX_SEEDS`.

    Attributes:
        dataset: Name of the data set.
        arm: Name of the arm.
        pairs: Seeds with a result of both the arm and the reference.
        sd: Standard deviation of the paired differences.
        low: Lower end of the 95 % interval of `sd`.
        high: Upper end of the 95 % interval of `sd`.
        uncorrected: Seeds for a test at alpha.
        corrected: Seeds for a test at the first step of Holm's correction.
        conservative: As `corrected`, with `high` as standard deviation.
    """

    dataset: str
    arm: str
    pairs: int
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    uncorrected: int | None = None
    corrected: int | None = None
    conservative: int | None = None


@dataclass(frozen=True)
class PowerPlan:
    """Number of seeds that a study needs for one metric.

    Attributes:
        study: Record of the study.
        metric: The metric.
        detect: Difference to detect, in the displayed unit.
        power: Power of the test.
        sample_sizes: Estimates for each arm on each data set.
    """

    study: StudyRecord
    metric: Metric
    detect: float
    power: float
    sample_sizes: tuple[SampleSize, ...]

    @property
    def seeds(self) -> int | None:
        """Seeds that suffice for all arms after correction; None if above `MAX_SEEDS`."""
        largest = 0
        for size in self.sample_sizes:
            if size.pairs > 1:
                if size.corrected is None:
                    return None
                largest = max(largest, size.corrected)
        return largest


def plan_seeds(results: Results, detect: float, metric: str | None, power: float) -> PowerPlan:
    """Estimate the number of seeds needed to detect a difference.

    Args:
        results: Results of the study so far.
        detect: Difference to detect, in the displayed unit of the metric.
        metric: Name of the metric; None for the metric that steers the study.
        power: Power of the test.

    Returns:
        The estimates.

    Raises:
        IbmlError: The difference is not positive, the table does not have the metric, or no arm
            has two pairs yet.
    """
    if not (math.isfinite(detect) and detect > 0):
        raise IbmlError(f"the difference to detect must be above 0, got {detect:g}")
    study = results.study
    chosen = _find_metric(results, metric or study.steering)
    sizes = []
    for dataset in study.datasets:
        values = results.get_values_by_arm(dataset, chosen)
        reference = values.pop(study.reference, {})
        for arm, by_seed in values.items():
            differences = []
            for seed, value in by_seed.items():
                if seed in reference:
                    differences.append(value - reference[seed])
            corrected_alpha = study.table.alpha / len(values)
            settings = _PowerSettings(
                detect, study.table.alpha, corrected_alpha, power, study.table.test
            )
            sizes.append(_estimate_sample_size(dataset, arm, differences, settings))
    if not any(size.pairs > 1 for size in sizes):
        raise IbmlError(
            f"{study.name} has fewer than two pairs of {chosen.name}, so its variance cannot be"
            " estimated; run the study with two or three seeds first (--seeds 3)"
        )
    return PowerPlan(study, chosen, detect, power, tuple(sizes))


def _find_metric(results: Results, name: str) -> Metric:
    for metric in results.metrics:
        if metric.name == name:
            return metric
    suggestion = format_suggestion(name, results.study.metrics)
    raise IbmlError(f"the table of {results.study.name} has no metric {name!r}{suggestion}")


@dataclass(frozen=True)
class _PowerSettings:
    """Difference to detect, significance levels, power and test."""

    detect: float
    alpha: float
    corrected_alpha: float
    power: float
    test: TestName

    def compute_seeds(self, sd: float, alpha: float) -> int | None:
        """Return the number of seeds for a standard deviation of the differences.

        The signed-rank test needs pi / 3 times the seeds of the t-test if the differences are
        normal (asymptotic relative efficiency; Hodges & Lehmann, 1956). It also needs enough seeds
        that its smallest possible p-value is below alpha.

        Args:
            sd: Standard deviation of the paired differences.
            alpha: Significance level.

        Returns:
            Number of seeds; None if above `MAX_SEEDS`.
        """
        seeds = compute_required_seeds(sd, self.detect, alpha, self.power, MAX_SEEDS)
        if seeds is None or self.test == "t":
            return seeds
        fewest = math.floor(1 - math.log2(alpha)) + 1
        seeds = max(math.ceil(seeds * math.pi / 3), fewest)
        return seeds if seeds <= MAX_SEEDS else None


def _estimate_sample_size(
    dataset: str, arm: str, differences: Sequence[float], settings: _PowerSettings
) -> SampleSize:
    pairs = len(differences)
    if pairs < 2:
        return SampleSize(dataset, arm, pairs)
    sd = float(np.std(differences, ddof=1))
    low, high = sd_interval(sd, pairs)
    return SampleSize(
        dataset,
        arm,
        pairs,
        sd,
        low,
        high,
        uncorrected=settings.compute_seeds(sd, settings.alpha),
        corrected=settings.compute_seeds(sd, settings.corrected_alpha),
        conservative=settings.compute_seeds(high, settings.corrected_alpha),
    )


def build_power_table(plan: PowerPlan) -> TableSpec:
    """Return a table with one row per data set and arm."""
    get_name = plan.study.table.get_display_name
    several = len(plan.study.datasets) > 1
    columns = [Column("data set", "name")] if several else []
    columns.append(Column("arm", "name"))
    headings = (
        "pairs",
        "sd of difference",
        "95 % interval",
        "seeds",
        "seeds (Holm)",
        "at the largest sd",
    )
    columns += map(Column, headings)
    rows = []
    for size in plan.sample_sizes:
        dataset = [Entry(get_name(size.dataset))] if several else []
        rows.append(
            (
                *dataset,
                Entry(get_name(size.arm)),
                build_number_entry(size.pairs, 0),
                build_number_entry(size.sd),
                build_range_entry(size.low, size.high),
                _build_seeds_entry(size.uncorrected, size.pairs),
                _build_seeds_entry(size.corrected, size.pairs),
                _build_seeds_entry(size.conservative, size.pairs),
            )
        )
    unit = "points" if plan.metric.unit == "%" else plan.metric.unit
    amount = f"{plan.detect:g} {unit}".strip()
    title = (
        f"{plan.study.name}: seeds to detect a difference of {amount} in"
        f" {get_name(plan.metric.name)}"
    )
    return TableSpec(title, tuple(columns), tuple(rows))


def _build_seeds_entry(value: int | None, pairs: int) -> Entry:
    if value is not None:
        return Entry(f"{value:,}", value=value)
    return Entry(f"> {MAX_SEEDS:,}" if pairs > 1 else MISSING)


def describe_power(plan: PowerPlan) -> list[str]:
    """Describe the method, the number of seeds and its cost, one sentence group per line."""
    study, alpha = plan.study, plan.study.table.alpha
    arms = len({size.arm for size in plan.sample_sizes})
    test = "paired t-test"
    if study.table.test != "t":
        test = "Wilcoxon signed-rank test (by its efficiency, 3 / pi)"
    lines = [
        f"Two-sided {test}, power {plan.power:g}, alpha {alpha:g}; Holm's first step takes"
        f" alpha / {arms} for {format_count(arms, 'arm')}. The standard deviation is itself an"
        " estimate: the last column takes the upper end of its interval."
    ]
    seeds = plan.seeds
    if seeds is None:
        lines.append(
            f"More than {MAX_SEEDS:,} seeds would be needed, which is above the limit of a study."
        )
    else:
        trials = seeds * len(study.arms) * len(study.datasets)
        epochs = [epochs_by_arm[-1] for epochs_by_arm in study.epochs.values()]
        cost = seeds * len(study.arms) * math.fsum(epochs)
        lines.append(
            f"{seeds:,} seeds are enough to detect that difference in every arm: {trials:,} trials,"
            f" {cost:,.0f} epochs. Pass --seeds {seeds} to run them; trials that have a result are"
            " not run again."
        )
    unknown = [size.arm for size in plan.sample_sizes if size.pairs < 2]
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        lines.append(f"Not estimated for {names}, which have fewer than two pairs.")
    return lines
