"""Conclusions of a study: a sentence or two per arm, and a summary of the whole study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ibml.common.formatting import format_count, join_words
from ibml.report.study.narrative import Finding, Narrative
from ibml.report.tables.table import Table, TableCell
from ibml.report.tables.table_spec import format_number

ArmVerdict = Literal[
    "helps",
    "hurts",
    "helps and hurts",
    "undecided so far",
    "no effect detected",
    "no claim",
    "no result",
]

_MAX_NAMES = 4


@dataclass(frozen=True)
class Conclusion:
    """Conclusion about one arm compared with the reference.

    Attributes:
        arm: Name of the arm.
        verdict: Verdict over all metrics and data sets.
        text: Sentences with the numbers.
    """

    arm: str
    verdict: ArmVerdict
    text: str


def build_conclusions(table: Table) -> list[Conclusion]:
    """Return the conclusions about all arms but the reference, in the order of the table."""
    reference = table.study.reference
    return [_build_conclusion(table, arm) for arm in table.arms if arm != reference]


def _build_conclusion(table: Table, arm: str) -> Conclusion:
    cells = []
    for metric in table.metrics:
        for cell in table.cells.values():
            if cell.arm == arm and cell.metric == metric.name:
                cells.append(cell)
    if not any(cell.summary.n for cell in cells):
        planned = format_count(len(table.study.seeds), "seed")
        return Conclusion(arm, "no result", f"No run has a result ({planned} planned).")
    findings = _collect_findings(table, cells)
    sentences = build_narrative(table).write_sentences(findings, _describe_removal(table, arm))
    sentences += _describe_seeds(table, cells)
    return Conclusion(arm, _combine_verdicts(findings), " ".join(sentences))


def build_narrative(table: Table) -> Narrative:
    """Return the writer of sentences about a table."""
    return Narrative(table.study.table, len(table.datasets))


def _collect_findings(table: Table, cells: Sequence[TableCell]) -> list[Finding]:
    metrics = {metric.name: metric for metric in table.metrics}
    findings = []
    for cell in cells:
        if cell.difference:
            metric = metrics[cell.metric]
            findings.append(Finding(cell.dataset, metric, cell.difference, cell.level))
    return findings


def _combine_verdicts(findings: Sequence[Finding]) -> ArmVerdict:
    present = {finding.difference.verdict for finding in findings}
    if {"helps", "hurts"} <= present:
        return "helps and hurts"
    for verdict in ("helps", "hurts", "undecided so far", "no effect detected"):
        if verdict in present:
            return verdict
    return "no result" if present <= {"no pairs"} else "no claim"


def _list_removed_components(table: Table, arm: str) -> list[str]:
    """Return the components that an arm of a leave-one-out design lacks."""
    design = table.study.design
    if design.type != "leave_one_out":
        return []
    active = design.get_active_factors(arm)
    return [name for name in design.levels.get(arm, {}) if name not in active]


def _describe_removal(table: Table, arm: str) -> str:
    removed = _list_removed_components(table, arm)
    if not removed:
        return ""
    return f"removing {join_words(list(map(table.study.table.get_display_name, removed)))}"


def _describe_seeds(table: Table, cells: Sequence[TableCell]) -> Iterator[str]:
    """Yield the seeds of an arm's decision, or the number of seeds without a result."""
    steering = [cell for cell in cells if cell.metric == table.study.steering]
    if table.study.adaptive is None:
        yield from _describe_missing_seeds(table, steering)
    else:
        yield from _describe_decision(table, steering, table.study.adaptive.max)


def _describe_missing_seeds(table: Table, cells: Sequence[TableCell]) -> Iterator[str]:
    planned = len(table.study.seeds)
    parts = []
    for cell in cells:
        if cell.summary.n < planned:
            part = f"{cell.summary.n} of {planned}"
            if len(table.datasets) > 1:
                part += f" ({table.study.table.get_display_name(cell.dataset)})"
            parts.append(part)
    if parts:
        yield f"{join_words(parts)} seeds have a result."


def _describe_decision(table: Table, cells: Sequence[TableCell], max_seeds: int) -> Iterator[str]:
    settings = table.study.table
    metric = settings.get_display_name(table.study.steering)
    decided = {}
    for cell in cells:
        if cell.difference and cell.difference.verdict in ("helps", "hurts"):
            decided[cell.dataset] = cell.difference.n
    if decided and len(table.datasets) == 1:
        (seeds,) = decided.values()
        yield f"Decided by {metric} after {format_count(seeds, 'seed')}."
    elif decided:
        counts = []
        for dataset, count in decided.items():
            counts.append(f"{count} ({settings.get_display_name(dataset)})")
        yield f"Decided by {metric} after {join_words(counts)} seeds."
    elif all(c.difference and c.difference.verdict == "no effect detected" for c in cells):
        yield f"Not decided by {metric} within {format_count(max_seeds, 'seed')}."


def build_study_summary(table: Table) -> str:
    """Return a summary of the study in a line: its main conclusions and missing results."""
    writers = {
        "factorial": _describe_factors,
        "cumulative": _describe_gains,
        "leave_one_out": _describe_removals,
    }
    write = writers.get(table.study.design.type, _describe_arms)
    parts = list(write(table))
    if table.unfinished:
        parts.append(f"{table.unfinished} trials have no result yet.")
    return " ".join(parts)


def _collect_analysis_findings(table: Table, kind: str) -> dict[str, list[Finding]]:
    """Return the differences of one kind of analysis, by the name of their line."""
    found: dict[str, list[Finding]] = {}
    for metric in table.metrics:
        for analysis in table.analyses:
            if analysis.kind != kind or analysis.metric != metric:
                continue
            for line in analysis.lines:
                if line.difference is not None:
                    finding = Finding(analysis.dataset, metric, line.difference)
                    found.setdefault(line.name, []).append(finding)
    return found


def _describe_factors(table: Table) -> Iterator[str]:
    sentences = _describe_effects(table, _collect_analysis_findings(table, "main effects"))
    yield from sentences or [
        "No seed has a result of every combination, so nothing can be said of the factors."
    ]
    yield from _describe_interactions(table)


def _describe_interactions(table: Table) -> Iterator[str]:
    detected = []
    verdicts = set()
    for name, findings in _collect_analysis_findings(table, "interactions").items():
        for finding in findings:
            verdicts.add(finding.difference.verdict)
            if finding.difference.verdict == "effect detected":
                metric = table.study.table.get_display_name(finding.metric.name)
                certainty = build_narrative(table).format_certainty(finding)
                detected.append(f"{name} on {metric} ({certainty})")
    if detected:
        yield f"Interactions: {_join_first(detected)}."
    elif "no effect detected" in verdicts:
        yield "No interaction of two factors was detected."


def _describe_gains(table: Table) -> Iterator[str]:
    sentences = _describe_effects(table, _collect_analysis_findings(table, "gains"))
    yield from sentences or [
        "No seed has a result of two steps, so nothing can be said of what each part adds."
    ]


def _describe_effects(table: Table, effects: Mapping[str, list[Finding]]) -> list[str]:
    """Describe significant effects with numbers, and name those that were not detected."""
    sentences, not_detected = [], []
    for name, findings in effects.items():
        verdict = _combine_verdicts(findings)
        if verdict in ("helps", "hurts", "helps and hurts"):
            changed = [f for f in findings if f.difference.verdict in ("helps", "hurts")]
            sentences += build_narrative(table).write_sentences(changed, name)
        elif verdict == "no effect detected":
            not_detected.append(name)
        elif verdict != "no result":
            sentences.append(f"{name}: {verdict}.")
    if not_detected:
        sentences.append(f"No effect of {join_words(not_detected, 'or')} was detected.")
    return sentences


def _describe_removals(table: Table) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for conclusion in build_conclusions(table):
        components = _list_removed_components(table, conclusion.arm)
        name = join_words(list(map(table.study.table.get_display_name, components)))
        if len(components) > 1:
            name += " together"
        found.setdefault(conclusion.verdict, []).append(name or conclusion.arm)
    for verdict, text in (
        ("hurts", "Removing it hurts: {}."),
        ("helps", "Removing it helps: {}."),
        ("helps and hurts", "Removing it helps one metric and hurts another: {}."),
        ("no effect detected", "Removing it has no detected effect: {}."),
        ("undecided so far", "Not decided yet: {}."),
        ("no claim", "No claim is possible: {}."),
        ("no result", "Without a result: {}."),
    ):
        if verdict in found:
            yield text.format(_join_first(found[verdict], "; "))


def _describe_arms(table: Table) -> Iterator[str]:
    get_name = table.study.table.get_display_name
    yield from _describe_best(table)
    found: dict[str, list[str]] = {}
    for conclusion in build_conclusions(table):
        found.setdefault(conclusion.verdict, []).append(get_name(conclusion.arm))
    parts = [f"{verdict}: {_join_first(arms)}" for verdict, arms in found.items()]
    if parts:
        yield f"Against {get_name(table.study.reference)}, {'; '.join(parts)}."


def _describe_best(table: Table) -> Iterator[str]:
    """Name the best arms of the first metric, by average rank if there are several data sets."""
    metric, get_name = table.metrics[0], table.study.table.get_display_name
    metric_name = get_name(metric.name)
    ranks = table.ranks.get(metric.name)
    if ranks:
        if ranks.ranks:
            least = min(ranks.ranks.values())
            leaders = [get_name(arm) for arm, rank in ranks.ranks.items() if rank == least]
            yield (
                f"Best average rank of {metric_name} over"
                f" {format_count(ranks.datasets, 'data set')}: {join_words(leaders)}, {least:.2f}."
            )
        return
    cells = [cell for cell in table.cells.values() if cell.metric == metric.name]
    best = [cell for cell in cells if cell.best]
    if not best:
        return
    digits = table.study.table.get_digits(metric.name)
    mean = f"{format_number(best[0].summary.mean, digits)} {metric.unit}".strip()
    tied = [get_name(cell.arm) for cell in cells if cell.tied and not cell.best]
    apart = f", not significantly different from {_join_first(tied)}" if tied else ""
    leaders = [get_name(cell.arm) for cell in best]
    yield f"Best mean of {metric_name}: {join_words(leaders)}, {mean}{apart}."


def _join_first(names: Sequence[str], separator: str = ", ") -> str:
    """Join the first names, and count the others."""
    text = separator.join(names[:_MAX_NAMES])
    further = len(names) - _MAX_NAMES
    if further > 0:
        text += f" and {further} more"
    return text
