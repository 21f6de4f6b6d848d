"""A study's table: cells, differences to the reference, verdicts, and everything the foot must say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from ibml.config.metrics import Metric, describe
from ibml.config.records import StudyRecord, TrialRecord
from ibml.statistics.paired import Difference, Summary, paired_difference, summarise, with_verdicts


@dataclass(frozen=True)
class TableCell:
    """One arm, data set and metric, in the metric's shown unit. `tied`: not told apart from the best."""

    dataset: str
    arm: str
    metric: str
    summary: Summary
    difference: Difference | None
    best: bool = False
    second: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Table:
    """A finished table; the renderers only lay it out."""

    name: str
    description: str
    reference: str
    datasets: tuple[str, ...]
    arms: tuple[str, ...]
    metrics: tuple[Metric, ...]
    cells: dict[tuple[str, str, str], TableCell]
    alpha: float
    foot: tuple[str, ...]
    unfinished: int

    def cell(self, dataset: str, arm: str, metric: str) -> TableCell:
        return self.cells[dataset, arm, metric]

    def frame(self) -> pd.DataFrame:
        """One row per data set, arm and metric, at full precision."""
        rows = []
        for cell in self.cells.values():
            d = cell.difference
            rows.append(
                {
                    "dataset": cell.dataset,
                    "arm": cell.arm,
                    "metric": cell.metric,
                    "unit": describe(cell.metric).unit,
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
                    "detectable": d.detectable if d else None,
                    "verdict": d.verdict if d else "reference",
                }
            )
        return pd.DataFrame(rows)


Values = dict[tuple[str, str, str], dict[int, float]]
"""(data set, arm, metric) -> seed -> value in the shown unit."""


def build_table(study: StudyRecord, results: Mapping[str, TrialRecord]) -> Table:
    """The table of a study from the results of its keys; missing ones are counted, never guessed."""
    metrics = tuple(map(describe, study.metrics))
    values = _values(study, results, metrics)
    cells: dict[tuple[str, str, str], TableCell] = {}
    for dataset in study.datasets:
        for metric in metrics:
            cells |= _column(study, dataset, metric, values)
    ordered = {
        (dataset, arm, metric.name): cells[dataset, arm, metric.name]
        for dataset in study.datasets
        for arm in study.arms
        for metric in metrics
        if (dataset, arm, metric.name) in cells
    }
    unfinished = sum(not (record := results.get(t.key)) or not record.ended for t in study.trials)
    foot = (
        *_method_notes(study, ordered),
        *_missing_pairs(study, results),
        *_failure_notes(study, results),
        *_provenance(study, results),
    )
    return Table(
        study.name,
        study.description,
        study.reference,
        study.datasets,
        study.arms,
        metrics,
        ordered,
        study.table.alpha,
        foot,
        unfinished,
    )


def _values(study: StudyRecord, results: Mapping[str, TrialRecord], metrics: tuple[Metric, ...]) -> Values:
    values: Values = {}
    for trial in study.trials:
        record = results.get(trial.key)
        for metric in metrics:
            by_seed = values.setdefault((trial.dataset, trial.arm, metric.name), {})
            value = record.metrics.get(metric.name) if record and record.status == "finished" else None
            if value is not None and math.isfinite(value):
                by_seed[trial.seed] = value * metric.scale
    return values


def _column(study: StudyRecord, dataset: str, metric: Metric, values: Values) -> dict[tuple[str, str, str], TableCell]:
    """All arms of one metric on one data set; Holm's correction is over the arms of such a column."""
    arms = {arm: values[dataset, arm, metric.name] for arm in study.arms if (dataset, arm, metric.name) in values}
    reference = arms.get(study.reference, {})
    compare = study.table
    differences = with_verdicts(
        {
            arm: paired_difference(by_seed, reference, compare.test, compare.alpha)
            for arm, by_seed in arms.items()
            if arm != study.reference
        },
        metric.higher_is_better,
        compare.alpha,
    )
    summaries = {arm: summarise([by_seed[seed] for seed in sorted(by_seed)]) for arm, by_seed in arms.items()}
    ranked = sorted(
        (arm for arm in arms if summaries[arm].mean is not None),
        key=lambda arm: _goodness(summaries[arm], metric),
        reverse=True,
    )
    best = [arm for arm in ranked if summaries[arm].mean == summaries[ranked[0]].mean]
    rest = [arm for arm in ranked if arm not in best]
    second = [arm for arm in rest if summaries[arm].mean == summaries[rest[0]].mean]
    tied = _tied_with_best(study, metric, {arm: arms[arm] for arm in ranked}, best)
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
        )
        for arm in arms
    }


def _goodness(summary: Summary, metric: Metric) -> float:
    assert summary.mean is not None
    return summary.mean if metric.higher_is_better else -summary.mean


def _tied_with_best(
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
    tied = {arm for arm, difference in against.items() if difference.verdict not in ("helps", "hurts")}
    return tied | {best[0]} if tied else set()


def _status(record: TrialRecord | None) -> str:
    return "missing" if record is None or record.status == "pruned" else record.status


def _method_notes(study: StudyRecord, cells: Mapping[tuple[str, str, str], TableCell]) -> list[str]:
    test = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}[study.table.test]
    counts = sorted({cell.summary.n for cell in cells.values() if cell.summary.n})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}" if counts else "no"
    seeds = f"{number} seed{'' if number == '1' else 's'}"
    level = f"{100 * (1 - study.table.alpha):g}"
    notes = [
        f"Mean ± standard deviation over {seeds}. Differences to {study.reference}: {level} % t interval;"
        f" two-sided {test} on pairs of one seed, Holm-corrected over the arms of a column.",
        f"{_detectable(study, counts)} ≈: not told apart from the best.",
    ]
    tuning = [study.tuning_note] if study.tuning_note else []
    return [*notes, _budget(study), *tuning, *study.notes]


def _detectable(study: StudyRecord, counts: list[int]) -> str:
    if study.table.test == "t":
        return f"Detectable: the smallest difference found with power 0.8 at alpha {study.table.alpha:g}, uncorrected."
    pairs = min(counts[-1], 60) if counts else 0
    return f"With {pairs} pairs no signed-rank p is below {min(1.0, 2.0 ** (1 - pairs)):.2g}, before correction."


def _budget(study: StudyRecord) -> str:
    budgets = {name: " to ".join(map(str, {found[0]: 0, found[-1]: 0})) for name, found in study.epochs.items()}
    same = len(set(budgets.values())) == 1
    epochs = next(iter(budgets.values())) if same else ", ".join(f"{n} ({name})" for name, n in budgets.items())
    equal = all(len(found) == 1 for found in study.epochs.values())
    each = "each arm" if equal else "NOT EQUAL among the arms"
    seeds = f"{len(study.seeds)} seed{'' if len(study.seeds) == 1 else 's'}"
    return f"Budget: {seeds} × {epochs} epochs, {each}; selection on validation, test evaluated once."


def _missing_pairs(study: StudyRecord, results: Mapping[str, TrialRecord]) -> list[str]:
    """Pairs with a side that gave no number, by arm; a metric that an arm never has is no missing pair."""
    without = {(t.dataset, t.arm, t.seed) for t in study.trials if _status(results.get(t.key)) != "finished"}
    counts = Counter(
        t.arm
        for t in study.trials
        if t.arm != study.reference and {(t.dataset, t.arm, t.seed), (t.dataset, study.reference, t.seed)} & without
    )
    if not counts:
        return []
    by_arm = ", ".join(f"{arm} {count}" for arm, count in counts.items())
    return [f"Pairs with a missing side, left out of the tests: {by_arm}."]


def _failure_notes(study: StudyRecord, results: Mapping[str, TrialRecord]) -> list[str]:
    notes = []
    for status, words in (
        ("failed", "Failed"),
        ("diverged", "Diverged"),
        ("running", "Not finished"),
        ("missing", "Not run"),
    ):
        of_status = [t for t in study.trials if _status(results.get(t.key)) == status]
        if not of_status:
            continue
        by_arm = ", ".join(f"{arm} {count}" for arm, count in Counter(t.arm for t in of_status).items())
        text = f"{words}: {len(of_status)} of {len(study.trials)} trials ({by_arm})"
        known = [record for t in of_status if (record := results.get(t.key)) and record.reason]
        if known:
            text += f"; for instance {known[0].reason}"
        if known and status == "failed":
            text += f"; traceback.txt of MLflow run {known[0].run_id}"
        notes.append(f"{text}.")
    return notes


def _provenance(study: StudyRecord, results: Mapping[str, TrialRecord]) -> list[str]:
    keys = {t.key for t in study.trials}
    records = [results[key] for key in sorted(keys) if key in results and results[key].ended]
    revisions = sorted({record.revision for record in records}) or ["none"]
    platforms = sorted({record.platform for record in records}) or ["nothing"]
    prints = sorted({record.fingerprint[:12] for record in records}) or ["none"]
    ended = max((record.ended_at for record in records), default=0)
    date = datetime.fromtimestamp(ended / 1000, UTC).strftime("%Y-%m-%d") if ended else "no date"
    changed = f", with {' '.join(study.overrides)}" if study.overrides else ""
    return [
        f"Study {study.name}{changed} (file hash {study.file_hash[:12]}): {len(records)} results of {len(keys)}"
        f" trial keys; code {', '.join(revisions)} on {', '.join(platforms)}; data {', '.join(prints)}; {date}."
    ]
