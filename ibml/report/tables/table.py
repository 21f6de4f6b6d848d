"""A study's table: cells, differences to the reference, verdicts, and everything the foot must say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from ibml.config.metrics.names import Metric, describe_metric
from ibml.records import StudyRecord, TrialRecord
from ibml.report.tables.analysis import Analysis, compute_analyses
from ibml.report.tables.notes import build_table_notes
from ibml.report.tables.results import Results, find_mixtures, refuse_mixtures
from ibml.statistics.datasets import Ranks, average_ranks
from ibml.statistics.paired import (
    Difference,
    Summary,
    Verdict,
    paired_difference,
    summarise,
    with_verdicts,
)
from ibml.statistics.sequential import at_stop, nominal_levels


@dataclass(frozen=True)
class TableCell:
    """One arm, data set and metric, in the metric's shown unit. `tied`: not told apart from the best. `level`: what p
    was compared with, where seeds were added until arms were decided."""

    dataset: str
    arm: str
    metric: str
    summary: Summary
    difference: Difference | None
    best: bool = False
    second: bool = False
    tied: bool = False
    level: float | None = None

    @property
    def marks(self) -> str:
        differs = self.difference is not None and self.difference.verdict in ("helps", "hurts")
        return ("*" if differs else "") + ("≈" if self.tied else "")


@dataclass(frozen=True)
class Table:
    """A finished table; the renderers only lay it out."""

    study: StudyRecord
    metrics: tuple[Metric, ...]
    cells: dict[tuple[str, str, str], TableCell]
    ranks: dict[str, Ranks]
    """metric -> average ranks of the arms over the data sets that all of them have, where there are several."""
    analyses: tuple[Analysis, ...]
    notes: tuple[str, ...]
    unfinished: int

    @property
    def name(self) -> str:
        return self.study.name

    @property
    def datasets(self) -> tuple[str, ...]:
        return self.study.datasets

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms in the order in which they are shown."""
        return self.study.shown_arms

    def get_cell(self, dataset: str, arm: str, metric: str) -> TableCell:
        return self.cells[dataset, arm, metric]

    def build_frame(self) -> pd.DataFrame:
        """One row per data set, arm and metric, at full precision, with what the arm consists of."""
        return pd.DataFrame([self._build_row(cell) for cell in self.cells.values()])

    def _build_row(self, cell: TableCell) -> dict[str, object]:
        d = cell.difference
        consists = {name: of_arm.get(cell.arm) for name, of_arm in self.study.columns.items()}
        return {
            "dataset": cell.dataset,
            "arm": cell.arm,
            **{f"part.{name}": value for name, value in consists.items()},
            "metric": cell.metric,
            "unit": describe_metric(cell.metric).unit,
            "n": cell.summary.n,
            "mean": cell.summary.mean,
            "sd": cell.summary.sd,
            "pairs": d.n if d else None,
            "difference": d.mean if d else None,
            "low": d.low if d else None,
            "high": d.high if d else None,
            "effect_size": d.effect_size if d else None,
            "p": d.p if d else None,
            "p_holm": d.p_corrected if d else None,
            "level": cell.level,
            "detectable": d.detectable if d else None,
            "verdict": d.verdict if d else "reference",
        }


def build_table(
    study: StudyRecord, records: Mapping[str, TrialRecord], allow_mixed: bool = False
) -> Table:
    """The table of a study from the results of its keys; missing ones are counted, never guessed.

    Raises `MixedResultsError` for results that were not made alike, unless these are allowed.
    """
    results = Results(study, records)
    if not allow_mixed:
        refuse_mixtures(study.name, find_mixtures(results))
    made: dict[tuple[str, str, str], TableCell] = {}
    for dataset in study.datasets:
        for metric in results.metrics:
            made |= _build_column_cells(results, dataset, metric)
    cells = {
        (dataset, arm, metric.name): made[dataset, arm, metric.name]
        for dataset in study.datasets
        for arm in study.shown_arms
        for metric in results.metrics
        if (dataset, arm, metric.name) in made
    }
    ranked = results.metrics if len(study.datasets) > 1 else ()
    counts = {cell.summary.n for cell in cells.values() if cell.summary.n}
    return Table(
        study,
        results.metrics,
        cells,
        {
            m.name: average_ranks(collect_dataset_means(cells.values(), m), m.higher_is_better)
            for m in ranked
        },
        tuple(compute_analyses(results)),
        build_table_notes(results, counts),
        results.unfinished,
    )


def collect_dataset_means(
    cells: Iterable[TableCell], metric: Metric
) -> dict[str, dict[str, float]]:
    """Arm -> data set -> mean, where there is one."""
    means: dict[str, dict[str, float]] = {}
    for cell in cells:
        if cell.metric == metric.name:
            by_dataset = means.setdefault(cell.arm, {})
            if cell.summary.mean is not None:
                by_dataset[cell.dataset] = cell.summary.mean
    return means


def _build_column_cells(
    results: Results, dataset: str, metric: Metric
) -> dict[tuple[str, str, str], TableCell]:
    """All arms of one metric on one data set. Corrections are over all arms of such a column, shown or not; best and
    second are among those that are shown."""
    study = results.study
    arms = results.get_values_by_arm(dataset, metric)
    differences, levels = _compare_with_reference(results, dataset, metric, arms)
    summaries = {arm: summarise(list(by_seed.values())) for arm, by_seed in arms.items()}
    ranked = sorted(
        (arm for arm in study.shown_arms if arm in arms and summaries[arm].mean is not None),
        key=lambda arm: _get_sort_value(summaries[arm], metric),
        reverse=True,
    )
    best = [arm for arm in ranked if summaries[arm].mean == summaries[ranked[0]].mean]
    rest = [arm for arm in ranked if arm not in best]
    second = [arm for arm in rest if summaries[arm].mean == summaries[rest[0]].mean]
    tied = _find_tied_with_best(study, metric, {arm: arms[arm] for arm in ranked}, best)
    return {
        (dataset, arm, metric.name): TableCell(
            dataset,
            arm,
            metric.name,
            summaries[arm],
            differences.get(arm),
            best=arm in best,
            second=arm in second and len(best) == 1,
            tied=arm in tied,
            level=levels.get(arm),
        )
        for arm in arms
    }


def _compare_with_reference(
    results: Results, dataset: str, metric: Metric, arms: Mapping[str, Mapping[int, float]]
) -> tuple[dict[str, Difference], dict[str, float | None]]:
    """Every arm against the reference, and the levels of tests at looks."""
    study, compare = results.study, results.study.table
    reference = arms.get(study.reference, {})
    plain = {
        arm: paired_difference(
            by_seed,
            _select_first_seeds(reference, results.count_seeds_taken(dataset, arm), study),
            compare.test,
            compare.alpha,
        )
        for arm, by_seed in arms.items()
        if arm != study.reference
    }
    if study.adaptive is None:
        return with_verdicts(plain, metric.higher_is_better, compare.alpha), {}
    tests = _test_at_looks(results, dataset, metric, plain)
    finished = results.looks[dataset].finished
    judged = {}
    for arm, d in plain.items():
        rejected, _ = tests[arm]
        verdict = d.verdict
        if d.p is not None and d.mean is not None:
            better = (d.mean > 0) == metric.higher_is_better
            none: Verdict = "no effect detected" if finished else "undecided so far"
            verdict = ("helps" if better else "hurts") if rejected else none
        judged[arm] = replace(d, verdict=verdict)
    return judged, {arm: level for arm, (_, level) in tests.items() if plain[arm].p is not None}


def _test_at_looks(
    results: Results, dataset: str, metric: Metric, differences: Mapping[str, Difference]
) -> dict[str, tuple[bool, float | None]]:
    """Whether an arm's difference passed the level at which it was tested, and that level."""
    study, progress = results.study, results.looks[dataset]
    assert study.adaptive is not None
    adaptive, alpha = study.adaptive, study.table.alpha
    if metric.name != study.steering:
        p_values = {arm: d.p if progress.looks else None for arm, d in differences.items()}
        seeds = {arm: results.count_seeds_taken(dataset, arm) for arm in differences}
        tests = at_stop(p_values, seeds, adaptive.min, adaptive.max, alpha)
        return {arm: (test.rejected, test.level) for arm, test in tests.items()}
    left = len(differences) - len(progress.decided)
    last = (
        nominal_levels(adaptive.min, adaptive.max, alpha / left)[progress.looks]
        if left and progress.looks
        else None
    )
    return {
        arm: (True, progress.decided[arm].level) if arm in progress.decided else (False, last)
        for arm in differences
    }


def _select_first_seeds(
    values: Mapping[int, float], seeds: int, study: StudyRecord
) -> dict[int, float]:
    """The values of the first seeds."""
    first = set(study.seeds[:seeds])
    return {seed: value for seed, value in values.items() if seed in first}


def _get_sort_value(summary: Summary, metric: Metric) -> float:
    assert summary.mean is not None
    return summary.mean if metric.higher_is_better else -summary.mean


def _find_tied_with_best(
    study: StudyRecord, metric: Metric, arms: Mapping[str, Mapping[int, float]], best: list[str]
) -> set[str]:
    """The arms whose difference from the best is not significant, the best among them."""
    if not best or len(arms) < 2:
        return set()
    compare = study.table
    against = with_verdicts(
        {
            arm: paired_difference(by_seed, arms[best[0]], compare.test, compare.alpha)
            for arm, by_seed in arms.items()
            if arm != best[0]
        },
        metric.higher_is_better,
        compare.alpha,
    )
    tied = {
        arm for arm, difference in against.items() if difference.verdict == "no effect detected"
    }
    return tied | {best[0]} if tied else set()
