"""How many seeds a study needs, from the variance that its trials have shown so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ibml.common.errors import IbmlError, format_suggestion
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
from ibml.statistics.power import sd_interval, seeds_needed

MAX_SEEDS = 10_000
"""What a study takes."""


@dataclass(frozen=True)
class SampleSize:
    """What one arm needs on one data set: pairs seen so far, standard deviation of their differences with its 95 %
    interval, and seeds by alpha as it is, at the first step of Holm's correction, and at that if the standard
    deviation is as large as it may be. Fewer than two pairs do not allow to say anything; with more, None is beyond
    `MAX_SEEDS`."""

    dataset: str
    arm: str
    pairs: int
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    alone: int | None = None
    corrected: int | None = None
    cautious: int | None = None


@dataclass(frozen=True)
class PowerPlan:
    """The needs of all arms for one metric."""

    study: StudyRecord
    metric: Metric
    detect: float
    power: float
    needs: tuple[SampleSize, ...]

    @property
    def seeds(self) -> int | None:
        """Enough for every arm of which something is known, after the correction; None is beyond `MAX_SEEDS`."""
        known = [need.corrected for need in self.needs if need.pairs > 1]
        return None if None in known else max(seeds for seeds in known if seeds)


def plan_seeds(results: Results, detect: float, metric: str | None, power: float) -> PowerPlan:
    """Raises `IbmlError` for a difference that is not above 0, for a metric that the study lacks, and where no arm has
    two pairs yet."""
    if not (math.isfinite(detect) and detect > 0):
        raise IbmlError(f"a difference to detect is above 0, got {detect:g}")
    study = results.study
    name = metric or study.steering
    chosen = next((m for m in results.metrics if m.name == name), None)
    if chosen is None:
        raise IbmlError(
            f"the table of {study.name} has no metric {name!r}{format_suggestion(name, study.metrics)}"
        )
    needs = []
    for dataset in study.datasets:
        values = results.get_values_by_arm(dataset, chosen)
        reference = values.get(study.reference, {})
        others = [arm for arm in values if arm != study.reference]
        for arm in others:
            d = [
                value - reference[seed] for seed, value in values[arm].items() if seed in reference
            ]
            alphas = (study.table.alpha, study.table.alpha / len(others))
            needs.append(
                _estimate_sample_size(
                    dataset, arm, d, _PowerSettings(detect, *alphas, power, study.table.test)
                )
            )
    if not any(need.pairs > 1 for need in needs):
        raise IbmlError(
            f"{study.name} has no two pairs of {name} yet, so that nothing is known of its variance: run it with two or"
            " three seeds first (--seeds 3)"
        )
    return PowerPlan(study, chosen, detect, power, tuple(needs))


@dataclass(frozen=True)
class _PowerSettings:
    detect: float
    alpha: float
    corrected: float
    power: float
    test: TestName

    def seeds(self, sd: float, alpha: float) -> int | None:
        """Of the t-test; the signed-rank test takes pi / 3 times as many where differences are normal (its efficiency,
        Hodges & Lehmann 1956), and no fewer than those with which its p can be below alpha at all."""
        found = seeds_needed(sd, self.detect, alpha, self.power, MAX_SEEDS)
        if found is None or self.test == "t":
            return found
        found = max(math.ceil(found * math.pi / 3), math.floor(1 - math.log2(alpha)) + 1)
        return found if found <= MAX_SEEDS else None


def _estimate_sample_size(
    dataset: str, arm: str, d: Sequence[float], question: _PowerSettings
) -> SampleSize:
    if len(d) < 2:
        return SampleSize(dataset, arm, len(d))
    sd = float(np.std(d, ddof=1))
    low, high = sd_interval(sd, len(d))
    asked = ((sd, question.alpha), (sd, question.corrected), (high, question.corrected))
    return SampleSize(dataset, arm, len(d), sd, low, high, *(question.seeds(*one) for one in asked))


def build_power_table(plan: PowerPlan) -> TableSpec:
    """A row per arm and data set."""
    several = len(plan.study.datasets) > 1
    columns = [Column("data set", "name")] if several else []
    columns += [Column("arm", "name")]
    headings = (
        "pairs",
        "sd of difference",
        "95 % interval",
        "seeds",
        "seeds (Holm)",
        "at the largest sd",
    )
    columns += [Column(heading) for heading in headings]
    rows = []
    for need in plan.needs:
        lead = [Entry(plan.study.table.get_display_name(need.dataset))] if several else []
        rows.append(
            (
                *lead,
                Entry(plan.study.table.get_display_name(need.arm)),
                build_number_entry(need.pairs, 0),
                build_number_entry(need.sd),
                build_range_entry(need.low, need.high),
                *(
                    _build_seeds_entry(value, need.pairs)
                    for value in (need.alone, need.corrected, need.cautious)
                ),
            )
        )
    unit = (
        " points" if plan.metric.unit == "%" else f" {plan.metric.unit}" if plan.metric.unit else ""
    )
    metric = plan.study.table.get_display_name(plan.metric.name)
    title = f"{plan.study.name}: seeds to detect a difference of {plan.detect:g}{unit} in {metric}"
    return TableSpec(title, tuple(columns), tuple(rows))


def _build_seeds_entry(value: int | None, pairs: int) -> Entry:
    beyond = f"> {MAX_SEEDS:,}" if pairs > 1 else MISSING
    return Entry(beyond if value is None else f"{value:,}", value=value)


def describe_power(plan: PowerPlan) -> list[str]:
    """What follows, in words."""
    study, alpha = plan.study, plan.study.table.alpha
    arms = len({need.arm for need in plan.needs})
    unknown = [need.arm for need in plan.needs if need.pairs < 2]
    epochs = [of[-1] for of in study.epochs.values()]
    seeds = plan.seeds
    test = (
        "paired t-test"
        if study.table.test == "t"
        else "Wilcoxon signed-rank test (by its efficiency, 3 / pi)"
    )
    lines = [
        f"Two-sided {test}, power {plan.power:g}, alpha {alpha:g}; Holm's first step takes alpha / {arms} for"
        f" {arms} arm{'' if arms == 1 else 's'}. The standard deviation is itself an estimate: the last column takes"
        " the upper end of its interval."
    ]
    if seeds is not None:
        cells = len(study.arms) * len(study.datasets)
        cost = seeds * len(study.arms) * math.fsum(epochs)
        lines.append(
            f"{seeds:,} seeds let every arm's difference of that size be found: {seeds * cells:,} trials,"
            f" {cost:,.0f} epochs. Run them with --seeds {seeds}; trials that have a result are not run again."
        )
    else:
        lines.append(f"More than {MAX_SEEDS:,} seeds would be needed, which no study takes.")
    if unknown:
        lines.append(
            f"Nothing is known of {', '.join(dict.fromkeys(unknown))}: fewer than two pairs."
        )
    return lines
