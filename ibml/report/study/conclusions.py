"""The answers of a study: a sentence or two for each arm, and one line for the whole of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ibml.report.study.narrative import (
    Finding,
    Narrative,
    format_dataset_count,
    format_seed_count,
    join_words,
)
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
    """What an arm does against the reference; `verdict` is over all metrics and data sets."""

    arm: str
    verdict: ArmVerdict
    text: str


def build_conclusions(table: Table) -> list[Conclusion]:
    """Every arm but the reference, in the table's order."""
    return [_build_conclusion(table, arm) for arm in table.arms if arm != table.study.reference]


def _build_conclusion(table: Table, arm: str) -> Conclusion:
    of_arm = [cell for cell in table.cells.values() if cell.arm == arm]
    cells = [cell for metric in table.metrics for cell in of_arm if cell.metric == metric.name]
    if not any(cell.summary.n for cell in cells):
        return Conclusion(
            arm,
            "no result",
            f"No run has a result ({format_seed_count(len(table.study.seeds))} planned).",
        )
    found = _collect_findings(table, cells)
    sentences = [
        *build_narrative(table).write_sentences(found, _describe_removal(table, arm)),
        *_describe_seeds(table, cells),
    ]
    return Conclusion(arm, _combine_verdicts(found), " ".join(sentences))


def build_narrative(table: Table) -> Narrative:
    return Narrative(table.study.table, len(table.datasets))


def _collect_findings(table: Table, cells: Sequence[TableCell]) -> list[Finding]:
    metrics = {metric.name: metric for metric in table.metrics}
    return [
        Finding(c.dataset, metrics[c.metric], c.difference, c.level) for c in cells if c.difference
    ]


def _combine_verdicts(findings: Sequence[Finding]) -> ArmVerdict:
    present = {f.difference.verdict for f in findings}
    if {"helps", "hurts"} <= present:
        return "helps and hurts"
    for verdict in ("helps", "hurts", "undecided so far", "no effect detected"):
        if verdict in present:
            return verdict
    return "no result" if present <= {"no pairs"} else "no claim"


def _list_removed_components(table: Table, arm: str) -> list[str]:
    """The components that an arm of a leave-one-out design lacks."""
    design = table.study.design
    if design.type != "leave_one_out":
        return []
    return [
        name for name in design.levels.get(arm, {}) if name not in design.get_active_factors(arm)
    ]


def _describe_removal(table: Table, arm: str) -> str:
    removed = _list_removed_components(table, arm)
    return (
        f"taking out {join_words(list(map(table.study.table.get_display_name, removed)))}"
        if removed
        else ""
    )


def _describe_seeds(table: Table, cells: Sequence[TableCell]) -> Iterator[str]:
    """After how many seeds an arm was decided, or how many of the planned ones lack a result."""
    study = table.study
    steering = [cell for cell in cells if cell.metric == study.steering]
    if study.adaptive is None:
        lacking = [cell for cell in steering if cell.summary.n < len(study.seeds)]
        several = len(table.datasets) > 1
        parts = [
            f"{cell.summary.n} of {len(study.seeds)}{f' ({study.table.get_display_name(cell.dataset)})' if several else ''}"
            for cell in lacking
        ]
        if parts:
            yield f"{join_words(parts)} seeds have a result."
        return
    early = {
        cell.dataset: cell.difference.n
        for cell in steering
        if cell.difference and cell.difference.verdict in ("helps", "hurts")
    }
    if early and len(table.datasets) == 1:
        yield f"Decided by {study.table.get_display_name(study.steering)} after {format_seed_count(*early.values())}."
    elif early:
        counts = join_words(
            [
                f"{count} ({study.table.get_display_name(dataset)})"
                for dataset, count in early.items()
            ]
        )
        yield f"Decided by {study.table.get_display_name(study.steering)} after {counts} seeds."
    elif all(
        cell.difference and cell.difference.verdict == "no effect detected" for cell in steering
    ):
        yield f"Not decided by {study.table.get_display_name(study.steering)} within {format_seed_count(study.adaptive.max)}."


def build_study_summary(table: Table) -> str:
    """The whole study in a line: what of its design won, and what is missing."""
    makers = {
        "factorial": _describe_factors,
        "cumulative": _describe_gains,
        "leave_one_out": _describe_removals,
    }
    parts = [*makers.get(table.study.design.type, _describe_arms)(table)]
    if table.unfinished:
        parts.append(f"{table.unfinished} trials have no result yet.")
    return " ".join(parts)


def _collect_analysis_findings(table: Table, kind: str) -> dict[str, list[Finding]]:
    """The lines of a kind of analysis, by what they are about."""
    found: dict[str, list[Finding]] = {}
    place = {metric: position for position, metric in enumerate(table.metrics)}
    for analysis in sorted(table.analyses, key=lambda a: place[a.metric]):
        for line in analysis.lines if analysis.kind == kind else ():
            if line.difference is not None:
                found.setdefault(line.name, []).append(
                    Finding(analysis.dataset, analysis.metric, line.difference)
                )
    return found


def _describe_factors(table: Table) -> Iterator[str]:
    effects = _collect_analysis_findings(table, "main effects")
    said = _describe_effects(table, effects)
    yield from said or [
        "No seed has a result of every combination, so nothing can be said of the factors."
    ]
    together = _collect_analysis_findings(table, "interactions")
    interact = [
        f"{name} on {table.study.table.get_display_name(f.metric.name)} ({build_narrative(table).format_certainty(f)})"
        for name, findings in together.items()
        for f in findings
        if f.difference.verdict == "effect detected"
    ]
    if interact:
        yield f"Interactions: {_join_first(interact)}."
    elif any(
        f.difference.verdict == "no effect detected"
        for findings in together.values()
        for f in findings
    ):
        yield "No interaction of two factors was detected."


def _describe_gains(table: Table) -> Iterator[str]:
    said = _describe_effects(table, _collect_analysis_findings(table, "gains"))
    yield from said or [
        "No seed has a result of two steps, so nothing can be said of what each part adds."
    ]


def _describe_effects(table: Table, effects: Mapping[str, list[Finding]]) -> list[str]:
    """The effects that help or hurt with their numbers, and the names of those that were not detected."""
    said, nothing = [], []
    for name, findings in effects.items():
        verdict = _combine_verdicts(findings)
        if verdict in ("helps", "hurts", "helps and hurts"):
            moved = [f for f in findings if f.difference.verdict in ("helps", "hurts")]
            said += build_narrative(table).write_sentences(moved, name)
        elif verdict == "no effect detected":
            nothing.append(name)
        elif verdict != "no result":
            said.append(f"{name}: {verdict}.")
    return said + ([f"No effect of {join_words(nothing, 'or')} was detected."] if nothing else [])


def _describe_removals(table: Table) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for answer in build_conclusions(table):
        parts = list(
            map(table.study.table.get_display_name, _list_removed_components(table, answer.arm))
        )
        together = " together" if len(parts) > 1 else ""
        found.setdefault(answer.verdict, []).append(f"{join_words(parts)}{together}" or answer.arm)
    for verdict, text in (
        ("hurts", "Earns its place, since it is missed when taken out: {}."),
        ("helps", "Better taken out: {}."),
        ("helps and hurts", "Taken out it helps one thing and hurts another: {}."),
        ("no effect detected", "No effect of taking out was detected: {}."),
        ("undecided so far", "Not decided yet: {}."),
        ("no claim", "No claim is possible: {}."),
        ("no result", "Without a result: {}."),
    ):
        if verdict in found:
            yield text.format(_join_first(found[verdict], "; "))


def _describe_arms(table: Table) -> Iterator[str]:
    yield from _describe_best(table)
    found: dict[str, list[str]] = {}
    for answer in build_conclusions(table):
        found.setdefault(answer.verdict, []).append(table.study.table.get_display_name(answer.arm))
    reference = table.study.table.get_display_name(table.study.reference)
    parts = [f"{verdict}: {_join_first(arms)}" for verdict, arms in found.items()]
    if parts:
        yield f"Against {reference}, {'; '.join(parts)}."


def _describe_best(table: Table) -> Iterator[str]:
    """Who leads on the first metric: by mean, or by average rank over data sets."""
    metric, shown = table.metrics[0], table.study.table.get_display_name
    found = table.ranks.get(metric.name)
    if found and found.ranks:
        least = min(found.ranks.values())
        first = join_words([shown(arm) for arm, rank in found.ranks.items() if rank == least])
        yield f"Best average rank of {shown(metric.name)} over {format_dataset_count(found.datasets)}: {first}, {least:.2f}."
    if found:
        return
    cells = [cell for cell in table.cells.values() if cell.metric == metric.name]
    best = [cell for cell in cells if cell.best]
    if best:
        level = f"{format_number(best[0].summary.mean, table.study.table.get_digits(metric.name))} {metric.unit}".strip()
        tied = [shown(cell.arm) for cell in cells if cell.tied and not cell.best]
        apart = f", not told apart from {_join_first(tied)}" if tied else ""
        yield f"Best mean of {shown(metric.name)}: {join_words([shown(c.arm) for c in best])}, {level}{apart}."


def _join_first(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - _MAX_NAMES
    return between.join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
