"""What a design says beyond arm against reference: effects of factors, gains of parts, all data sets together."""

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
from ibml.statistics.datasets import Improvement, improvement, signed_rank_over_datasets
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
    """One line of an analysis: what it is about, and the difference; of variance, the share instead; over data sets,
    also the probability of improvement."""

    name: str
    difference: Difference | None = None
    share: VarianceShare | None = None
    improvement: Improvement | None = None


@dataclass(frozen=True)
class Analysis:
    """Lines about one metric on one data set (on all of them where `dataset` is empty)."""

    kind: AnalysisKind
    dataset: str
    metric: Metric
    lines: tuple[AnalysisLine, ...]


def compute_analyses(results: Results) -> Iterator[Analysis]:
    """Everything that the design of a study allows to say, kind by kind."""
    study = results.study
    found: dict[AnalysisKind, list[Analysis]] = {}
    for dataset in study.datasets:
        for metric in results.metrics:
            for kind, lines in _compute_column_analyses(results, dataset, metric):
                if lines:
                    found.setdefault(kind, []).append(Analysis(kind, dataset, metric, tuple(lines)))
    for of_kind in found.values():
        yield from of_kind
    if len(study.datasets) > 1:
        for metric in results.metrics:
            lines = _compare_over_datasets(results, metric)
            if lines:
                yield Analysis("over data sets", "", metric, tuple(lines))


def _compute_column_analyses(
    results: Results, dataset: str, metric: Metric
) -> Iterator[tuple[AnalysisKind, list[AnalysisLine]]]:
    study, alpha = results.study, results.study.table.alpha
    design, values = study.design, results.get_values_by_arm(dataset, metric)
    if design.type == "factorial":
        names = list(design.factors)
        by_cell = {
            tuple(design.levels[arm][name] for name in names): of_arm
            for arm, of_arm in values.items()
        }
        effects = main_effects(design.factors, by_cell, alpha)
        yield "main effects", _build_effect_lines(effects, metric, alpha, study)
        together = interactions(design.factors, by_cell, alpha)
        yield "interactions", _build_interaction_lines(together, list(by_cell), study)
        yield (
            "variance",
            [
                AnalysisLine(_format_term_name(s.term, study), share=s)
                for s in variance_shares(design.factors, by_cell)
            ],
        )
    if design.type == "cumulative":
        yield "gains", _build_gain_lines(study, values, metric)
    worth = _get_subset_values(study, values)
    if worth:
        parts = list(design.factors)
        found = {c.parts: c.difference for c in shapley(parts, worth, alpha)}
        directed = with_verdicts(found, metric.higher_is_better, alpha)
        yield (
            "shapley",
            [
                AnalysisLine(study.table.get_display_name(name), d)
                for (name,), d in directed.items()
            ],
        )
        pairs = shapley_interactions(parts, worth, alpha)
        yield (
            "shapley interactions",
            [AnalysisLine(_format_product(c.parts, study), c.difference) for c in pairs],
        )


def _build_effect_lines(
    effects: Sequence[Effect], metric: Metric, alpha: float, study: StudyRecord
) -> list[AnalysisLine]:
    """Main effects are good or bad, as differences of arms are."""
    judged = with_verdicts(
        {(e.factors, e.levels): e.difference for e in effects}, metric.higher_is_better, alpha
    )
    return [
        AnalysisLine(_format_effect_name(e, study), judged[e.factors, e.levels]) for e in effects
    ]


def _format_effect_name(effect: Effect, study: StudyRecord) -> str:
    return " × ".join(
        f"{study.table.get_display_name(factor)}: {level} − {study.design.factors[factor][0]}"
        if factor not in study.design.components
        else study.table.get_display_name(factor)
        for factor, level in zip(effect.factors, effect.levels, strict=True)
    )


def _build_interaction_lines(
    effects: Sequence[Effect], cells: Sequence[tuple[str, ...]], study: StudyRecord
) -> list[AnalysisLine]:
    """The interactions of a design; of a fraction those that are no main effect, and as one those that are one
    contrast."""
    factors = study.design.factors
    if len(cells) == math.prod(map(len, factors.values())):
        return [AnalysisLine(_format_interaction_name(e, study), e.difference) for e in effects]
    signs = {
        name: tuple(1 if cell[place] == levels[0] else -1 for cell in cells)
        for place, (name, levels) in enumerate(factors.items())
    }
    mains = {sign for of in signs.values() for sign in (of, tuple(-s for s in of))}
    names: dict[tuple[int, ...], list[str]] = {}
    contrasts: dict[tuple[int, ...], Difference] = {}
    for effect in effects:
        first, second = (signs[name] for name in effect.factors)
        contrast = tuple(a * b for a, b in zip(first, second, strict=True))
        if contrast in mains:
            continue
        opposite = tuple(-s for s in contrast)
        names.setdefault(opposite if opposite in names else contrast, []).append(
            _format_interaction_name(effect, study)
        )
        contrasts.setdefault(opposite if opposite in names else contrast, effect.difference)
    judged = with_verdicts(contrasts, None, study.table.alpha)
    return [AnalysisLine(" = ".join(names[contrast]), d) for contrast, d in judged.items()]


def _format_interaction_name(effect: Effect, study: StudyRecord) -> str:
    return " × ".join(
        study.table.get_display_name(factor)
        + ("" if factor in study.design.components else f"={level}")
        for factor, level in zip(effect.factors, effect.levels, strict=True)
    )


def _format_term_name(term: Term, study: StudyRecord) -> str:
    return term if isinstance(term, str) else _format_product(term, study)


def _format_product(names: Sequence[str], study: StudyRecord) -> str:
    return " × ".join(map(study.table.get_display_name, names))


def _build_gain_lines(
    study: StudyRecord, values: Mapping[str, Values], metric: Metric
) -> list[AnalysisLine]:
    """Each component against the arm before it, in the order of the file."""
    steps: list[tuple[str, str, str]] = []
    by_parts = {frozenset(study.design.get_active_factors(arm)): arm for arm in values}
    before: frozenset[str] = frozenset()
    for part in study.design.components:
        after = before | {part}
        if before in by_parts and after in by_parts:
            steps.append((part, by_parts[before], by_parts[after]))
        before = after
    compare = study.table
    found = {
        part: paired_difference(values[arm], values[previous], compare.test, compare.alpha)
        for part, previous, arm in steps
    }
    judged = with_verdicts(found, metric.higher_is_better, compare.alpha)
    return [
        AnalysisLine(f"+ {study.table.get_display_name(part)}", d) for part, d in judged.items()
    ]


def _get_subset_values(
    study: StudyRecord, values: Mapping[str, Values]
) -> dict[frozenset[str], Values]:
    """The worth of every subset of the parts, if the design has them all: two levels each, and not too many."""
    factors = study.design.factors
    two_levels = factors and all(len(levels) == 2 for levels in factors.values())
    if (
        study.design.type not in ("factorial", "cumulative")
        or not two_levels
        or len(factors) > MAX_COMPONENTS
    ):
        return {}
    worth = {
        frozenset(study.design.get_active_factors(arm)): of_arm for arm, of_arm in values.items()
    }
    return worth if len(worth) == 2 ** len(factors) else {}


def _compare_over_datasets(results: Results, metric: Metric) -> list[AnalysisLine]:
    """Every arm against the reference over all data sets: means of the seeds that both have, and run against run."""
    study, better, alpha = results.study, metric.higher_is_better, results.study.table.alpha
    reference = {
        dataset: results.values(dataset, study.reference, metric) for dataset in study.datasets
    }
    tests, improvements = {}, {}
    for arm in study.arms:
        if arm == study.reference:
            continue
        values = {dataset: results.values(dataset, arm, metric) for dataset in study.datasets}
        common = {
            dataset: sorted(values[dataset].keys() & reference[dataset].keys())
            for dataset in study.datasets
        }
        x, y = (
            {
                dataset: [of[dataset][seed] for seed in seeds]
                for dataset, seeds in common.items()
                if seeds
            }
            for of in (values, reference)
        )
        means = {
            name: {d: fmean(runs) for d, runs in side.items()}
            for name, side in ((arm, x), (study.reference, y))
        }
        tests[arm] = signed_rank_over_datasets(means, study.reference, better, alpha)[arm]
        improvements[arm] = improvement(x, y, better, alpha)
    return [
        AnalysisLine(study.table.get_display_name(arm), difference, improvement=improvements[arm])
        for arm, difference in with_verdicts(tests, better, alpha).items()
        if difference.n and arm in study.shown_arms
    ]
