"""Analyses that a design allows beyond the comparison with the reference.

Effects and interactions of factors, shares of variance, gains of components, Shapley values, and
tests over all data sets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ibml.config.metrics.names import Metric
from ibml.config.study.designs import MAX_COMPONENTS
from ibml.records import StudyRecord
from ibml.report.tables.results import Results
from ibml.statistics.datasets import Improvement, estimate_improvement, signed_rank_over_datasets
from ibml.statistics.factorial import (
    Effect,
    Term,
    VarianceShare,
    interactions,
    main_effects,
    variance_shares,
)
from ibml.statistics.paired import Difference, paired_difference, with_verdicts
from ibml.statistics.shapley import shapley, shapley_interactions

Values = Mapping[int, float]
"""Seed -> value."""

AnalysisKind = Literal[
    "main effects",
    "interactions",
    "variance",
    "gains",
    "shapley",
    "shapley interactions",
    "over data sets",
]


@dataclass(frozen=True)
class AnalysisLine:
    """One line of an analysis.

    Attributes:
        name: Displayed name of the factor, component, pair or arm.
        difference: The effect; None in an analysis of variance.
        share: Share of the variance, in an analysis of variance only.
        improvement: Probability of improvement, in an analysis over data sets only.
    """

    name: str
    difference: Difference | None = None
    share: VarianceShare | None = None
    improvement: Improvement | None = None


@dataclass(frozen=True)
class Analysis:
    """An analysis of one metric on one data set.

    Attributes:
        kind: Kind of the analysis.
        dataset: Name of the data set; empty for an analysis over all of them.
        metric: The metric.
        lines: Lines in their order.
    """

    kind: AnalysisKind
    dataset: str
    metric: Metric
    lines: tuple[AnalysisLine, ...]


def compute_analyses(results: Results) -> Iterator[Analysis]:
    """Compute the analyses that the design of a study allows.

    Args:
        results: Results of the study.

    Yields:
        Analyses with at least one line, grouped by kind.
    """
    study = results.study
    by_kind: dict[AnalysisKind, list[Analysis]] = {}
    for dataset in study.datasets:
        for metric in results.metrics:
            for kind, lines in _compute_column_analyses(results, dataset, metric):
                if lines:
                    analysis = Analysis(kind, dataset, metric, tuple(lines))
                    by_kind.setdefault(kind, []).append(analysis)
    for analyses in by_kind.values():
        yield from analyses
    if len(study.datasets) > 1:
        for metric in results.metrics:
            lines = _compare_over_datasets(results, metric)
            if lines:
                yield Analysis("over data sets", "", metric, tuple(lines))


def _compute_column_analyses(
    results: Results, dataset: str, metric: Metric
) -> Iterator[tuple[AnalysisKind, list[AnalysisLine]]]:
    """Yield the analyses of one metric on one data set."""
    study = results.study
    values = results.get_values_by_arm(dataset, metric)
    if study.design.type == "factorial":
        yield from _analyze_factorial(study, values, metric)
    if study.design.type == "cumulative":
        yield "gains", _build_gain_lines(study, values, metric)
    subset_values = _get_subset_values(study, values)
    if subset_values:
        yield from _analyze_subsets(study, subset_values, metric)


def _analyze_factorial(
    study: StudyRecord, values: Mapping[str, Values], metric: Metric
) -> Iterator[tuple[AnalysisKind, list[AnalysisLine]]]:
    design, alpha = study.design, study.table.alpha
    cell_values = {}
    for arm, arm_values in values.items():
        cell = tuple(design.levels[arm][name] for name in design.factors)
        cell_values[cell] = arm_values
    effects = main_effects(design.factors, cell_values, alpha)
    yield "main effects", _build_effect_lines(effects, metric, alpha, study)
    pairs = interactions(design.factors, cell_values, alpha)
    yield "interactions", _build_interaction_lines(pairs, list(cell_values), study)
    lines = []
    for share in variance_shares(design.factors, cell_values):
        lines.append(AnalysisLine(_format_term_name(share.term, study), share=share))
    yield "variance", lines


def _analyze_subsets(
    study: StudyRecord, subset_values: Mapping[frozenset[str], Values], metric: Metric
) -> Iterator[tuple[AnalysisKind, list[AnalysisLine]]]:
    parts, alpha = list(study.design.factors), study.table.alpha
    contributions = {}
    for contribution in shapley(parts, subset_values, alpha):
        contributions[contribution.parts] = contribution.difference
    judged = with_verdicts(contributions, metric.higher_is_better, alpha)
    lines = []
    for (name,), difference in judged.items():
        lines.append(AnalysisLine(study.table.get_display_name(name), difference))
    yield "shapley", lines
    pair_lines = []
    for pair in shapley_interactions(parts, subset_values, alpha):
        pair_lines.append(AnalysisLine(_format_product(pair.parts, study), pair.difference))
    yield "shapley interactions", pair_lines


def _build_effect_lines(
    effects: Sequence[Effect], metric: Metric, alpha: float, study: StudyRecord
) -> list[AnalysisLine]:
    """Return the main effects with verdicts in the direction of the metric."""
    differences = {(e.factors, e.levels): e.difference for e in effects}
    judged = with_verdicts(differences, metric.higher_is_better, alpha)
    lines = []
    for effect in effects:
        difference = judged[effect.factors, effect.levels]
        lines.append(AnalysisLine(_format_effect_name(effect, study), difference))
    return lines


def _format_effect_name(effect: Effect, study: StudyRecord) -> str:
    names = []
    for factor, level in zip(effect.factors, effect.levels, strict=True):
        name = study.table.get_display_name(factor)
        if factor not in study.design.components:
            name += f": {level} − {study.design.factors[factor][0]}"
        names.append(name)
    return " × ".join(names)


def _build_interaction_lines(
    effects: Sequence[Effect], cells: Sequence[tuple[str, ...]], study: StudyRecord
) -> list[AnalysisLine]:
    """Return the interactions that a design can estimate.

    In a fraction of a factorial design, an interaction that is aliased with a main effect is left
    out, and interactions that are aliased with each other share a line.
    """
    factors = study.design.factors
    if len(cells) == math.prod(map(len, factors.values())):
        return [AnalysisLine(_format_interaction_name(e, study), e.difference) for e in effects]
    signs = _compute_factor_signs(factors, cells)
    main_contrasts = set()
    for contrast in signs.values():
        main_contrasts |= {contrast, _negate(contrast)}
    names: dict[tuple[int, ...], list[str]] = {}
    differences: dict[tuple[int, ...], Difference] = {}
    for effect in effects:
        first, second = (signs[name] for name in effect.factors)
        contrast = tuple(a * b for a, b in zip(first, second, strict=True))
        if contrast in main_contrasts:
            continue
        opposite = _negate(contrast)
        key = opposite if opposite in names else contrast
        names.setdefault(key, []).append(_format_interaction_name(effect, study))
        differences.setdefault(key, effect.difference)
    judged = with_verdicts(differences, None, study.table.alpha)
    return [AnalysisLine(" = ".join(names[contrast]), d) for contrast, d in judged.items()]


def _compute_factor_signs(
    factors: Mapping[str, Sequence[str]], cells: Sequence[tuple[str, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return factor -> its contrast: 1 for each cell with the first level, -1 for the others."""
    signs = {}
    for position, (name, levels) in enumerate(factors.items()):
        signs[name] = tuple(1 if cell[position] == levels[0] else -1 for cell in cells)
    return signs


def _negate(contrast: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-sign for sign in contrast)


def _format_interaction_name(effect: Effect, study: StudyRecord) -> str:
    names = []
    for factor, level in zip(effect.factors, effect.levels, strict=True):
        name = study.table.get_display_name(factor)
        if factor not in study.design.components:
            name += f"={level}"
        names.append(name)
    return " × ".join(names)


def _format_term_name(term: Term, study: StudyRecord) -> str:
    return term if isinstance(term, str) else _format_product(term, study)


def _format_product(names: Sequence[str], study: StudyRecord) -> str:
    return " × ".join(map(study.table.get_display_name, names))


def _build_gain_lines(
    study: StudyRecord, values: Mapping[str, Values], metric: Metric
) -> list[AnalysisLine]:
    """Return each component's gain over the arm before it, in the order of the study."""
    settings = study.table
    arms = {frozenset(study.design.get_active_factors(arm)): arm for arm in values}
    previous: frozenset[str] = frozenset()
    gains = {}
    for part in study.design.components:
        current = previous | {part}
        if previous in arms and current in arms:
            gains[part] = paired_difference(
                values[arms[current]], values[arms[previous]], settings.test, settings.alpha
            )
        previous = current
    judged = with_verdicts(gains, metric.higher_is_better, settings.alpha)
    return [
        AnalysisLine(f"+ {study.table.get_display_name(part)}", d) for part, d in judged.items()
    ]


def _get_subset_values(
    study: StudyRecord, values: Mapping[str, Values]
) -> dict[frozenset[str], Values]:
    """Return the values of every subset of the components.

    Empty unless the design has all subsets, two levels per factor, and at most `MAX_COMPONENTS`
    factors.
    """
    factors = study.design.factors
    two_levels = factors and all(len(levels) == 2 for levels in factors.values())
    crossed = study.design.type in ("factorial", "cumulative")
    if not crossed or not two_levels or len(factors) > MAX_COMPONENTS:
        return {}
    subset_values = {}
    for arm, arm_values in values.items():
        subset_values[frozenset(study.design.get_active_factors(arm))] = arm_values
    return subset_values if len(subset_values) == 2 ** len(factors) else {}


def _compare_over_datasets(results: Results, metric: Metric) -> list[AnalysisLine]:
    """Compare every arm with the reference over all data sets.

    The signed-rank test compares means over the seeds that both sides have; the probability of
    improvement compares runs.
    """
    study, alpha = results.study, results.study.table.alpha
    higher_is_better = metric.higher_is_better
    differences, improvements = {}, {}
    for arm in study.arms:
        if arm == study.reference:
            continue
        arm_runs, reference_runs = _pair_runs(results, arm, metric)
        means = {
            arm: {dataset: fmean(runs) for dataset, runs in arm_runs.items()},
            study.reference: {dataset: fmean(runs) for dataset, runs in reference_runs.items()},
        }
        tests = signed_rank_over_datasets(means, study.reference, higher_is_better, alpha)
        differences[arm] = tests[arm]
        improvements[arm] = estimate_improvement(arm_runs, reference_runs, higher_is_better, alpha)
    lines = []
    for arm, difference in with_verdicts(differences, higher_is_better, alpha).items():
        if difference.n and arm in study.shown_arms:
            name = study.table.get_display_name(arm)
            lines.append(AnalysisLine(name, difference, improvement=improvements[arm]))
    return lines


def _pair_runs(
    results: Results, arm: str, metric: Metric
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the runs of an arm and of the reference with common seeds, by data set."""
    arm_runs: dict[str, list[float]] = {}
    reference_runs: dict[str, list[float]] = {}
    for dataset in results.study.datasets:
        values = results.get_values(dataset, arm, metric)
        reference = results.get_values(dataset, results.study.reference, metric)
        seeds = sorted(values.keys() & reference.keys())
        if seeds:
            arm_runs[dataset] = [values[seed] for seed in seeds]
            reference_runs[dataset] = [reference[seed] for seed in seeds]
    return arm_runs, reference_runs
