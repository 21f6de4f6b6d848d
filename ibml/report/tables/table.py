"""The table of a study: means, differences from the reference, analyses and notes."""

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
from ibml.statistics.sequential import nominal_levels, run_stop_tests


@dataclass(frozen=True)
class TableCell:
    """One arm on one data set in one metric, in the displayed unit of the metric.

    Attributes:
        dataset: Name of the data set.
        arm: Name of the arm.
        metric: Name of the metric.
        summary: Mean and standard deviation over seeds.
        difference: Paired difference from the reference; None for the reference itself.
        best: True if no displayed arm has a better mean.
        second: True for the best mean after a single best arm.
        tied: True if not significantly different from the best arm.
        level: Significance level of the test at an interim look; None with fixed seeds.
    """

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
        """Marks behind the mean: `*` for a significant difference, `≈` for a tie with the best."""
        marks = ""
        if self.difference is not None and self.difference.verdict in ("helps", "hurts"):
            marks += "*"
        if self.tied:
            marks += "≈"
        return marks


@dataclass(frozen=True)
class Table:
    """A computed table; formats only render it.

    Attributes:
        study: Record of the study.
        metrics: Metrics in their order.
        cells: (data set, arm, metric) -> cell.
        ranks: Metric -> average ranks of the arms over the data sets that all arms have;
            empty for a single data set.
        analyses: Analyses that the design allows.
        notes: Notes under the table.
        unfinished: Number of trials without a result.
    """

    study: StudyRecord
    metrics: tuple[Metric, ...]
    cells: dict[tuple[str, str, str], TableCell]
    ranks: dict[str, Ranks]
    analyses: tuple[Analysis, ...]
    notes: tuple[str, ...]
    unfinished: int

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.name

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets."""
        return self.study.datasets

    @property
    def arms(self) -> tuple[str, ...]:
        """Displayed arms in their order."""
        return self.study.shown_arms

    def get_cell(self, dataset: str, arm: str, metric: str) -> TableCell:
        """Return the cell of an arm.

        Args:
            dataset: Name of the data set.
            arm: Name of the arm.
            metric: Name of the metric.

        Returns:
            The cell.

        Raises:
            KeyError: The arm is not displayed or has no trial on the data set.
        """
        return self.cells[dataset, arm, metric]

    def build_frame(self) -> pd.DataFrame:
        """Return the cells as a data frame at full precision.

        Returns:
            One row per data set, arm and metric, with the components of the arm in columns
            named `part.*`.
        """
        return pd.DataFrame([self._build_row(cell) for cell in self.cells.values()])

    def _build_row(self, cell: TableCell) -> dict[str, object]:
        row: dict[str, object] = {"dataset": cell.dataset, "arm": cell.arm}
        for name, value_by_arm in self.study.columns.items():
            row[f"part.{name}"] = value_by_arm.get(cell.arm)
        d = cell.difference
        row |= {
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
        return row


def build_table(
    study: StudyRecord, records: Mapping[str, TrialRecord], allow_mixed: bool = False
) -> Table:
    """Compute the table of a study.

    Missing results are reported in the notes and never imputed.

    Args:
        study: Record of the study.
        records: Trial key -> stored result.
        allow_mixed: Accept results from different code, machines or data.

    Returns:
        The table.

    Raises:
        MixedResultsError: The results may not be comparable and `allow_mixed` is False.
    """
    results = Results(study, records)
    if not allow_mixed:
        refuse_mixtures(study.name, find_mixtures(results))
    computed: dict[tuple[str, str, str], TableCell] = {}
    for dataset in study.datasets:
        for metric in results.metrics:
            computed |= _build_column_cells(results, dataset, metric)
    cells = {}
    for dataset in study.datasets:
        for arm in study.shown_arms:
            for metric in results.metrics:
                key = (dataset, arm, metric.name)
                if key in computed:
                    cells[key] = computed[key]
    ranks = {}
    if len(study.datasets) > 1:
        for metric in results.metrics:
            means = collect_dataset_means(cells.values(), metric)
            ranks[metric.name] = average_ranks(means, metric.higher_is_better)
    counts = {cell.summary.n for cell in cells.values() if cell.summary.n}
    return Table(
        study,
        results.metrics,
        cells,
        ranks,
        tuple(compute_analyses(results)),
        build_table_notes(results, counts),
        results.unfinished,
    )


def collect_dataset_means(
    cells: Iterable[TableCell], metric: Metric
) -> dict[str, dict[str, float]]:
    """Return arm -> data set -> mean of a metric, without the means that are missing."""
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
    """Return the cells of all arms for one metric on one data set.

    Corrections for multiple tests cover all arms of the column, displayed or not. Best and second
    are determined among the displayed arms.
    """
    arms = results.get_values_by_arm(dataset, metric)
    differences, levels = _compare_with_reference(results, dataset, metric, arms)
    summaries = {arm: summarise(list(by_seed.values())) for arm, by_seed in arms.items()}
    shown = []
    for arm in results.study.shown_arms:
        if arm in arms and summaries[arm].mean is not None:
            shown.append(arm)
    ranked = sorted(shown, key=lambda arm: _get_sort_value(summaries[arm], metric), reverse=True)
    best = [arm for arm in ranked if summaries[arm].mean == summaries[ranked[0]].mean]
    rest = [arm for arm in ranked if arm not in best]
    second = [arm for arm in rest if summaries[arm].mean == summaries[rest[0]].mean]
    ranked_values = {arm: arms[arm] for arm in ranked}
    tied = _find_tied_with_best(results.study, metric, ranked_values, best)
    cells = {}
    for arm in arms:
        cells[dataset, arm, metric.name] = TableCell(
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
    return cells


def _compare_with_reference(
    results: Results, dataset: str, metric: Metric, arms: Mapping[str, Mapping[int, float]]
) -> tuple[dict[str, Difference], dict[str, float | None]]:
    """Return each arm's difference from the reference, and the level of its test at a look."""
    study, settings = results.study, results.study.table
    reference = arms.get(study.reference, {})
    differences = {}
    for arm, by_seed in arms.items():
        if arm != study.reference:
            seed_count = results.count_seeds_taken(dataset, arm)
            paired_with = _select_first_seeds(reference, seed_count, study)
            differences[arm] = paired_difference(
                by_seed, paired_with, settings.test, settings.alpha
            )
    if study.adaptive is None:
        return with_verdicts(differences, metric.higher_is_better, settings.alpha), {}
    tests = _test_at_looks(results, dataset, metric, differences)
    finished = results.looks[dataset].finished
    judged = {}
    levels = {}
    for arm, difference in differences.items():
        rejected, level = tests[arm]
        verdict = _get_adaptive_verdict(difference, metric, rejected, finished)
        judged[arm] = replace(difference, verdict=verdict)
        if difference.p is not None:
            levels[arm] = level
    return judged, levels


def _get_adaptive_verdict(
    difference: Difference, metric: Metric, rejected: bool, finished: bool
) -> Verdict:
    if difference.p is None or difference.mean is None:
        return difference.verdict
    if rejected:
        is_better = (difference.mean > 0) == metric.higher_is_better
        return "helps" if is_better else "hurts"
    return "no effect detected" if finished else "undecided so far"


def _test_at_looks(
    results: Results, dataset: str, metric: Metric, differences: Mapping[str, Difference]
) -> dict[str, tuple[bool, float | None]]:
    """Return arm -> (True if its difference is significant, level of its test)."""
    study, progress = results.study, results.looks[dataset]
    assert study.adaptive is not None
    adaptive, alpha = study.adaptive, study.table.alpha
    if metric.name != study.steering:
        p_values = {}
        seeds = {}
        for arm, difference in differences.items():
            p_values[arm] = difference.p if progress.looks else None
            seeds[arm] = results.count_seeds_taken(dataset, arm)
        tests = run_stop_tests(p_values, seeds, adaptive.min, adaptive.max, alpha)
        return {arm: (test.rejected, test.level) for arm, test in tests.items()}
    undecided = len(differences) - len(progress.decided)
    last_level = None
    if undecided and progress.looks:
        levels = nominal_levels(adaptive.min, adaptive.max, alpha / undecided)
        last_level = levels[progress.looks]
    outcomes: dict[str, tuple[bool, float | None]] = {}
    for arm in differences:
        if arm in progress.decided:
            outcomes[arm] = (True, progress.decided[arm].level)
        else:
            outcomes[arm] = (False, last_level)
    return outcomes


def _select_first_seeds(
    values: Mapping[int, float], count: int, study: StudyRecord
) -> dict[int, float]:
    """Return the values of the study's first `count` seeds."""
    first = set(study.seeds[:count])
    return {seed: value for seed, value in values.items() if seed in first}


def _get_sort_value(summary: Summary, metric: Metric) -> float:
    """Return the mean with a sign such that larger is better."""
    assert summary.mean is not None
    return summary.mean if metric.higher_is_better else -summary.mean


def _find_tied_with_best(
    study: StudyRecord, metric: Metric, arms: Mapping[str, Mapping[int, float]], best: list[str]
) -> set[str]:
    """Return the arms that do not differ significantly from the best, and the best among them."""
    if not best or len(arms) < 2:
        return set()
    settings = study.table
    differences = {}
    for arm, by_seed in arms.items():
        if arm != best[0]:
            differences[arm] = paired_difference(
                by_seed, arms[best[0]], settings.test, settings.alpha
            )
    judged = with_verdicts(differences, metric.higher_is_better, settings.alpha)
    tied = {arm for arm, found in judged.items() if found.verdict == "no effect detected"}
    return tied | {best[0]} if tied else set()
