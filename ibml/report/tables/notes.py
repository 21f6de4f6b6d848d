"""The foot of a table: how it was made, what is missing, what came from where."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean

from ibml.config.metrics.names import describe_metric
from ibml.records import UNTUNED, StudyRecord
from ibml.report.tables.results import Results, find_mixtures
from ibml.report.tables.table_spec import format_confidence_level
from ibml.statistics.paired import POWER

SAMPLES_TOLERANCE = 0.005
"""Numbers of samples that differ by less are the same."""


def build_table_notes(results: Results, counts: Collection[int]) -> tuple[str, ...]:
    """The lines of the foot; `counts` are the different numbers of seeds in the table's cells."""
    return (
        *_describe_method(results, sorted(counts)),
        format_budget_note(results.study),
        *_describe_sample_counts(results),
        *([results.study.tuning_note] if results.study.tuning_note else []),
        *results.study.notes,
        *_describe_missing_pairs(results),
        *_describe_missing_metrics(results),
        *_describe_failures(results),
        *_describe_provenance(results),
    )


def _describe_method(results: Results, counts: list[int]) -> list[str]:
    study = results.study
    test = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}[study.table.test]
    number = (
        f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}" if counts else "no"
    )
    seeds = f"{number} seed{'' if number == '1' else 's'}"
    level = format_confidence_level(study.table.alpha)
    shown = study.table.get_display_name(study.reference)
    how = (
        "Holm-corrected over the arms of a column"
        if study.adaptive is None
        else f"alpha {study.table.alpha:g} shared among the arms and spent over the looks"
    )
    return [
        f"Mean ± standard deviation over {seeds}. Differences to {shown}: {level} t interval; two-sided {test} on"
        f" pairs of one seed, {how}.",
        *(_describe_looks(results) if study.adaptive else []),
        *_describe_hidden_arms(study),
        *_describe_complete_seeds(results),
        f"{_describe_detectable(study, counts)} *: differs from {shown}. ≈: not told apart from the best.",
    ]


def _describe_complete_seeds(results: Results) -> list[str]:
    """What effects, gains and Shapley values are over, where that is not what the means are over."""
    if results.study.design.type not in ("factorial", "cumulative"):
        return []
    counts = {
        (dataset, metric.name): (len(set.intersection(*map(set, found))), max(map(len, found)))
        for dataset in results.study.datasets
        for metric in results.metrics
        if (found := list(results.get_values_by_arm(dataset, metric).values()))
    }
    fewer = {whole for whole, most in counts.values() if whole < most}
    if not fewer:
        return []
    number = f"{min(fewer)}" if len(fewer) == 1 else f"{min(fewer)} to {max(fewer)}"
    looks = ", Holm-corrected and not by looks" if results.study.adaptive else ""
    return [
        f"Effects and Shapley values are over the seeds that all their arms have (some over {number}){looks}."
    ]


def _describe_hidden_arms(study: StudyRecord) -> list[str]:
    hidden = [
        study.table.get_display_name(arm) for arm in study.arms if arm not in study.shown_arms
    ]
    if not hidden:
        return []
    return [
        f"Not shown, but counted in the corrections: {', '.join(hidden)}. Best and second are of those shown."
    ]


def _describe_looks(results: Results) -> list[str]:
    """How seeds were added, and where that stands."""
    study = results.study
    assert study.adaptive is not None
    several = len(study.datasets) > 1
    early = [
        f"{decision.seeds} ({f'{dataset} · ' if several else ''}{study.table.get_display_name(arm)})"
        for dataset, progress in results.looks.items()
        for arm, decision in progress.decided.items()
        if decision.seeds < study.adaptive.max
    ]
    text = (
        f"Seeds were added until an arm was decided by {study.steering}, {study.adaptive.min} at least and"
        f" {study.adaptive.max} at most: after each, p against the level of that look (Lan & DeMets 1983, shared as by"
        " Maurer & Bretz 2013); other metrics are tested at the same looks."
    )
    if early:
        text += f" Early stop, whose estimates tend to be too large: seeds {', '.join(early)}."
    if not all(progress.finished for progress in results.looks.values()):
        text += " Not all looks could be made yet."
    return [text]


def _describe_detectable(study: StudyRecord, counts: list[int]) -> str:
    if study.table.test == "t":
        return (
            f"Detectable: the smallest difference found with power {POWER:g} at alpha {study.table.alpha:g},"
            " uncorrected."
        )
    pairs = min(counts[-1], 60) if counts else 0
    return f"With {pairs} pairs no signed-rank p is below {min(1.0, 2.0 ** (1 - pairs)):.2g}, before correction."


def format_budget_note(study: StudyRecord) -> str:
    """What each arm was given, and whether that was the same."""
    budgets = {
        name: " to ".join(map(str, {found[0]: 0, found[-1]: 0}))
        for name, found in study.epochs.items()
    }
    same = len(set(budgets.values())) == 1
    epochs = (
        next(iter(budgets.values()))
        if same
        else ", ".join(f"{n} ({name})" for name, n in budgets.items())
    )
    equal = all(len(found) == 1 for found in study.epochs.values())
    each = "each arm" if equal else "NOT EQUAL among the arms"
    seeds = f"{len(study.seeds)} seed{'' if len(study.seeds) == 1 else 's'}"
    if study.adaptive is not None:
        seeds = f"{study.adaptive.min} to {seeds} as decided"
    return (
        f"Budget: {seeds} × {epochs} epochs, {each}; selection on validation, test evaluated once."
    )


def _describe_sample_counts(results: Results) -> list[str]:
    """Arms that were trained on more or fewer samples than the reference, copies and estimates included."""
    seen = describe_metric("samples.total")
    lines: dict[str, list[str]] = {"more": [], "fewer": []}
    for dataset in results.study.datasets:
        means = {
            arm: fmean(found.values())
            for arm, found in results.get_values_by_arm(dataset, seen).items()
            if found
        }
        of_reference = means.get(results.study.reference, 0.0)
        if of_reference == 0:
            continue
        where = f" on {dataset}" if len(results.study.datasets) > 1 else ""
        for arm, ratio in [(arm, mean / of_reference) for arm, mean in means.items()]:
            if abs(ratio - 1) > SAMPLES_TOLERANCE:
                text = f"{results.study.table.get_display_name(arm)} {ratio:.2f} times{where}"
                lines["more" if ratio > 1 else "fewer"].append(text)
    reference = results.study.table.get_display_name(results.study.reference)
    return [
        f"Trained on {word} samples than {reference}: {', '.join(arms)}."
        for word, arms in lines.items()
        if arms
    ]


def _format_counts(arms: Counter[str]) -> str:
    return ", ".join(f"{arm} {count}" for arm, count in arms.items())


def _describe_missing_pairs(results: Results) -> list[str]:
    """Pairs of trials of which one side has no value, by arm, whichever metric is compared."""
    study = results.study
    ended = {
        (t.dataset, t.arm, t.seed): (record := results.records.get(t.key)) is not None
        and record.status == "finished"
        for t in results.trials
    }
    counts: Counter[str] = Counter()
    for (dataset, arm, seed), present in ended.items():
        if arm == study.reference:
            continue
        if not (present and ended.get((dataset, study.reference, seed), False)):
            counts[arm] += 1
    if not counts:
        return []
    return [f"Pairs with a missing side, left out of the tests: {_format_counts(counts)}."]


def _describe_missing_metrics(results: Results) -> list[str]:
    """Metrics that trials lack although they finished, by arm."""
    notes = []
    for metric in results.study.metrics:
        without: Counter[str] = Counter()
        for trial in results.trials:
            record = results.records.get(trial.key)
            if (
                record
                and record.status == "finished"
                and not math.isfinite(results.get_value(trial, metric))
            ):
                without[trial.arm] += 1
        if without:
            notes.append(
                f"Finished without a finite {metric}: {without.total()} trials ({_format_counts(without)})."
            )
    return notes


def _describe_failures(results: Results) -> list[str]:
    notes = []
    for status, words in (
        ("failed", "Failed"),
        ("diverged", "Diverged"),
        ("running", "Not finished"),
        ("missing", "Not run"),
    ):
        of_status = [t for t in results.trials if results.status(t) == status]
        if not of_status:
            continue
        counts = Counter(t.arm for t in of_status)
        text = (
            f"{words}: {len(of_status)} of {len(results.trials)} trials ({_format_counts(counts)})"
        )
        lost = {t.arm for t in of_status if (t.dataset, t.arm) in results.without_best}
        if lost:
            text += f"; no proposal of the search of {', '.join(sorted(lost))} was complete and within the constraints"
        known = [
            record for t in of_status if (record := results.records.get(t.key)) and record.reason
        ]
        if known:
            text += f"; for instance {known[0].reason}"
        if known and status == "failed":
            text += f"; traceback.txt of MLflow run {known[0].run_id}"
        notes.append(f"{text}.")
    return notes


@dataclass(frozen=True)
class Provenance:
    """Where results come from; `date` is the day (UTC) on which the last of them ended."""

    results: int
    keys: int
    revisions: tuple[str, ...]
    platforms: tuple[str, ...]
    fingerprints: tuple[str, ...]
    date: str


def collect_provenance(results: Results) -> Provenance:
    """Where the results that count come from."""
    records = results.ended
    ended = max((record.ended_at for record in records), default=0)
    return Provenance(
        len(records),
        len({trial.key for trial in results.trials} - {UNTUNED}),
        tuple(sorted({record.revision for record in records})) or ("none",),
        tuple(sorted({record.platform for record in records})) or ("nothing",),
        tuple(sorted({record.fingerprint[:12] for record in records})) or ("none",),
        datetime.fromtimestamp(ended / 1000, UTC).strftime("%Y-%m-%d") if ended else "no date",
    )


def _describe_provenance(results: Results) -> list[str]:
    study, found = results.study, collect_provenance(results)
    changed = f", with {' '.join(study.overrides)}" if study.overrides else ""
    mixed = [f"MIXED: {text}." for text in find_mixtures(results)]
    return [
        *mixed,
        f"Study {study.name}{changed} (file hash {study.file_hash[:12]}): {found.results} results of {found.keys}"
        f" trial keys; code {', '.join(found.revisions)} on {', '.join(found.platforms)};"
        f" data {', '.join(found.fingerprints)}; {found.date}.",
    ]
