"""Notes under a table: methods, budget, missing results and provenance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean

from ibml.common.formatting import format_count
from ibml.config.metrics.names import describe_metric
from ibml.records import UNTUNED, StudyRecord
from ibml.report.tables.results import Results, find_mixtures
from ibml.report.tables.table_spec import format_confidence_level
from ibml.statistics.paired import POWER

SAMPLES_TOLERANCE = 0.005
"""Relative difference up to which two numbers of training samples count as equal."""


def build_table_notes(results: Results, counts: Collection[int]) -> tuple[str, ...]:
    """Return the notes of a table.

    Args:
        results: Results of the study.
        counts: Distinct numbers of seeds in the cells of the table.

    Returns:
        One paragraph per note, in their order.
    """
    tuning_note = results.study.tuning_note
    return (
        *_describe_method(results, sorted(counts)),
        format_budget_note(results.study),
        *_describe_sample_counts(results),
        *([tuning_note] if tuning_note else []),
        *results.study.notes,
        *_describe_missing_pairs(results),
        *_describe_missing_metrics(results),
        *_describe_failures(results),
        *_describe_provenance(results),
    )


def _describe_method(results: Results, counts: list[int]) -> list[str]:
    study = results.study
    test = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}[study.table.test]
    level = format_confidence_level(study.table.alpha)
    shown = study.table.get_display_name(study.reference)
    correction = "Holm-corrected over the arms of a column"
    if study.adaptive is not None:
        correction = f"alpha {study.table.alpha:g} shared among the arms and spent over the looks"
    return [
        f"Mean ± standard deviation over {_format_seed_range(counts)}. Differences to {shown}:"
        f" {level} t interval; two-sided {test} on pairs of one seed, {correction}.",
        *(_describe_looks(results) if study.adaptive else []),
        *_describe_hidden_arms(study),
        *_describe_complete_seeds(results),
        f"{_describe_detectable(study, counts)} *: differs from {shown}."
        " ≈: not significantly different from the best.",
    ]


def _format_seed_range(counts: list[int]) -> str:
    if not counts:
        return "no seeds"
    if len(counts) == 1:
        return format_count(counts[0], "seed")
    return f"{counts[0]} to {counts[-1]} seeds"


def _describe_complete_seeds(results: Results) -> list[str]:
    """Describe the seeds behind effects, gains and Shapley values, if the means have more."""
    if results.study.design.type not in ("factorial", "cumulative"):
        return []
    incomplete = set()
    for dataset in results.study.datasets:
        for metric in results.metrics:
            values = list(results.get_values_by_arm(dataset, metric).values())
            if not values:
                continue
            complete = len(set.intersection(*map(set, values)))
            if complete < max(map(len, values)):
                incomplete.add(complete)
    if not incomplete:
        return []
    number = f"{min(incomplete)}"
    if len(incomplete) > 1:
        number = f"{min(incomplete)} to {max(incomplete)}"
    looks = ", Holm-corrected and not by looks" if results.study.adaptive else ""
    return [
        "Effects and Shapley values are over the seeds that all their arms have"
        f" (some over {number}){looks}."
    ]


def _describe_hidden_arms(study: StudyRecord) -> list[str]:
    hidden = [
        study.table.get_display_name(arm) for arm in study.arms if arm not in study.shown_arms
    ]
    if not hidden:
        return []
    return [
        f"Not shown, but counted in the corrections: {', '.join(hidden)}."
        " Best and second are of those shown."
    ]


def _describe_looks(results: Results) -> list[str]:
    """Describe the group-sequential procedure and the arms that stopped early."""
    study = results.study
    assert study.adaptive is not None
    early = []
    for dataset, progress in results.looks.items():
        prefix = f"{dataset} · " if len(study.datasets) > 1 else ""
        for arm, decision in progress.decided.items():
            if decision.seeds < study.adaptive.max:
                early.append(f"{decision.seeds} ({prefix}{study.table.get_display_name(arm)})")
    text = (
        f"Seeds were added until an arm was decided by {study.steering}, {study.adaptive.min}"
        f" at least and {study.adaptive.max} at most: after each, p against the level of that look"
        " (Lan & DeMets 1983, shared as by Maurer & Bretz 2013); other metrics are tested at the"
        " same looks."
    )
    if early:
        text += f" Early stop, whose estimates tend to be too large: seeds {', '.join(early)}."
    if not all(progress.finished for progress in results.looks.values()):
        text += " Not all looks could be made yet."
    return [text]


def _describe_detectable(study: StudyRecord, counts: list[int]) -> str:
    if study.table.test == "t":
        return (
            f"MDE: minimum detectable effect (power {POWER:g}, alpha {study.table.alpha:g},"
            " uncorrected)."
        )
    pairs = min(counts[-1], 60) if counts else 0
    smallest = min(1.0, 2.0 ** (1 - pairs))
    return f"With {pairs} pairs no signed-rank p is below {smallest:.2g}, before correction."


def format_budget_note(study: StudyRecord) -> str:
    """Return the training budget of the arms, with a warning if it is not equal."""
    budgets = {}
    for dataset, epochs in study.epochs.items():
        budgets[dataset] = " to ".join(map(str, dict.fromkeys((epochs[0], epochs[-1]))))
    if len(set(budgets.values())) == 1:
        epochs_text = next(iter(budgets.values()))
    else:
        epochs_text = ", ".join(f"{budget} ({name})" for name, budget in budgets.items())
    is_equal = all(len(epochs) == 1 for epochs in study.epochs.values())
    each = "each arm" if is_equal else "NOT EQUAL among the arms"
    seeds = format_count(len(study.seeds), "seed")
    if study.adaptive is not None:
        seeds = f"{study.adaptive.min} to {seeds} as decided"
    return (
        f"Budget: {seeds} × {epochs_text} epochs, {each}; selection on validation,"
        " test evaluated once."
    )


def _describe_sample_counts(results: Results) -> list[str]:
    """Name the arms that were trained on more or fewer samples than the reference."""
    metric = describe_metric("samples.total")
    arms: dict[str, list[str]] = {"more": [], "fewer": []}
    for dataset in results.study.datasets:
        means = {}
        for arm, values in results.get_values_by_arm(dataset, metric).items():
            if values:
                means[arm] = fmean(values.values())
        reference_mean = means.get(results.study.reference, 0.0)
        if reference_mean == 0:
            continue
        suffix = f" on {dataset}" if len(results.study.datasets) > 1 else ""
        for arm, mean in means.items():
            ratio = mean / reference_mean
            if abs(ratio - 1) > SAMPLES_TOLERANCE:
                text = f"{results.study.table.get_display_name(arm)} {ratio:.2f} times{suffix}"
                arms["more" if ratio > 1 else "fewer"].append(text)
    reference = results.study.table.get_display_name(results.study.reference)
    notes = []
    for direction, texts in arms.items():
        if texts:
            notes.append(f"Trained on {direction} samples than {reference}: {', '.join(texts)}.")
    return notes


def _format_counts(arms: Counter[str]) -> str:
    return ", ".join(f"{arm} {count}" for arm, count in arms.items())


def _describe_missing_pairs(results: Results) -> list[str]:
    """Count, by arm, the pairs of trials in which one side did not finish."""
    study = results.study
    finished = set()
    for trial in results.trials:
        record = results.records.get(trial.key)
        if record is not None and record.status == "finished":
            finished.add((trial.dataset, trial.arm, trial.seed))
    counts: Counter[str] = Counter()
    for dataset, arm, seed in dict.fromkeys((t.dataset, t.arm, t.seed) for t in results.trials):
        if arm == study.reference:
            continue
        if not {(dataset, arm, seed), (dataset, study.reference, seed)} <= finished:
            counts[arm] += 1
    if not counts:
        return []
    return [f"Pairs with a missing side, left out of the tests: {_format_counts(counts)}."]


def _describe_missing_metrics(results: Results) -> list[str]:
    """Count, by metric and arm, the finished trials without a finite value."""
    notes = []
    for metric in results.study.metrics:
        without: Counter[str] = Counter()
        for trial in results.trials:
            record = results.records.get(trial.key)
            finished = record is not None and record.status == "finished"
            if finished and not math.isfinite(results.get_value(trial, metric)):
                without[trial.arm] += 1
        if without:
            notes.append(
                f"Finished without a finite {metric}: {without.total()} trials"
                f" ({_format_counts(without)})."
            )
    return notes


def _describe_failures(results: Results) -> list[str]:
    notes = []
    for status, label in (
        ("failed", "Failed"),
        ("diverged", "Diverged"),
        ("running", "Not finished"),
        ("missing", "Not run"),
    ):
        trials = [trial for trial in results.trials if results.get_status(trial) == status]
        if not trials:
            continue
        counts = Counter(trial.arm for trial in trials)
        text = f"{label}: {len(trials)} of {len(results.trials)} trials ({_format_counts(counts)})"
        lost = {t.arm for t in trials if (t.dataset, t.arm) in results.without_best}
        if lost:
            text += (
                f"; no proposal of the search of {', '.join(sorted(lost))} was complete and within"
                " the constraints"
            )
        records = [results.records.get(trial.key) for trial in trials]
        explained = [record for record in records if record and record.reason]
        if explained:
            text += f"; for instance {explained[0].reason}"
        if explained and status == "failed":
            text += f"; traceback.txt of MLflow run {explained[0].run_id}"
        notes.append(f"{text}.")
    return notes


@dataclass(frozen=True)
class Provenance:
    """Origin of the results of a study.

    Attributes:
        results: Number of results.
        keys: Number of distinct trial keys of the study.
        revisions: Code revisions.
        platforms: Kinds of machine.
        fingerprints: Beginnings of the data fingerprints.
        date: Day (UTC) on which the last result was stored.
    """

    results: int
    keys: int
    revisions: tuple[str, ...]
    platforms: tuple[str, ...]
    fingerprints: tuple[str, ...]
    date: str


def collect_provenance(results: Results) -> Provenance:
    """Return the origin of the results that count."""
    records = results.ended
    last = max((record.ended_at for record in records), default=0)
    date = "no date"
    if last:
        date = datetime.fromtimestamp(last / 1000, UTC).strftime("%Y-%m-%d")
    return Provenance(
        len(records),
        len({trial.key for trial in results.trials} - {UNTUNED}),
        tuple(sorted({record.revision for record in records})) or ("none",),
        tuple(sorted({record.platform for record in records})) or ("nothing",),
        tuple(sorted({record.fingerprint[:12] for record in records})) or ("none",),
        date,
    )


def _describe_provenance(results: Results) -> list[str]:
    study, found = results.study, collect_provenance(results)
    changed = f", with {' '.join(study.overrides)}" if study.overrides else ""
    mixed = [f"MIXED: {text}." for text in find_mixtures(results)]
    return [
        *mixed,
        f"Study {study.name}{changed} (file hash {study.file_hash[:12]}): {found.results} results"
        f" of {found.keys} trial keys; code {', '.join(found.revisions)}"
        f" on {', '.join(found.platforms)}; data {', '.join(found.fingerprints)}; {found.date}.",
    ]
