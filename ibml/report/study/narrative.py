"""Findings about an arm, a component or an effect, as sentences with numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ibml.common.formatting import format_count, join_words
from ibml.config.metrics.names import Metric
from ibml.config.study.table import TableConfig
from ibml.report.tables.table_spec import (
    capitalize_first,
    format_confidence_level,
    format_number,
    format_p_value,
    format_signed,
)
from ibml.statistics.paired import Difference

UNITS = {"%": "points", "s": "s"}
"""Unit of a metric -> unit of its differences; a difference of percentages is in points."""


@dataclass(frozen=True)
class Finding:
    """The difference of an arm or effect in one metric on one data set.

    Attributes:
        dataset: Name of the data set.
        metric: The metric.
        difference: The difference.
        level: Significance level of the test at an interim look; None with fixed seeds.
    """

    dataset: str
    metric: Metric
    difference: Difference
    level: float | None = None


@dataclass(frozen=True)
class Narrative:
    """Writer of sentences about the findings of a study.

    Attributes:
        names: Displayed names, decimals and alpha of the study.
        datasets: Number of data sets of the study.
    """

    names: TableConfig
    datasets: int

    def write_sentences(self, findings: Sequence[Finding], subject: str = "") -> list[str]:
        """Return sentences about the findings, those with a significant difference first.

        Args:
            findings: Findings about one arm, component or effect, ordered by metric.
            subject: Grammatical subject, if it is not the arm itself.

        Returns:
            One sentence per verdict that occurs.
        """
        sentences: list[str] = []
        changed_metrics = set()
        for verdict in _DIRECTED_VERDICTS:
            changed = [f for f in findings if f.difference.verdict == verdict]
            if changed:
                changed_metrics |= {finding.metric for finding in changed}
                clauses = join_words(self._describe_changes(changed, named=not sentences))
                verb_phrase = f"{subject} {verdict}".strip()
                sentences.append(f"{capitalize_first(verb_phrase)}: {clauses}.")
        unchanged = [f for f in findings if f.metric not in changed_metrics]
        return [*sentences, *self._describe_unchanged(unchanged, subject)]

    def _describe_changes(self, findings: Sequence[Finding], named: bool) -> list[str]:
        """Return a clause for each metric, with the largest difference over data sets.

        The first clause names the interval if `named`.
        """
        clauses: list[str] = []
        for metric, found in _group_by_metric(findings).items():
            largest = max(found, key=lambda f: abs(f.difference.mean or 0.0))
            rises = (largest.difference.mean or 0.0) > 0
            verb = "rises" if rises else "falls"
            if self.datasets > 1:
                dataset = self.names.get_display_name(largest.dataset)
                most = "most " if len(found) > 1 else ""
                verb += f" on {_format_dataset_share(len(found), self.datasets)}"
                verb += f", {most}on {dataset}"
            name = self.names.get_display_name(metric.name)
            certainty = self.format_certainty(largest, named and not clauses)
            clauses.append(f"{name} {verb} by {self.format_amount(largest)} ({certainty})")
        return clauses

    def format_amount(self, finding: Finding) -> str:
        """Return the size of a difference with its unit, without sign."""
        return self._format_size(abs(finding.difference.mean or 0.0), finding.metric)

    def _format_size(self, value: float, metric: Metric) -> str:
        number = format_number(value, self.names.get_digits(metric.name))
        return f"{number} {UNITS.get(metric.unit, '')}".strip()

    def _format_signed_amount(self, value: float | None, metric: Metric) -> str:
        number = _format_signed_text(value, self.names.get_digits(metric.name))
        return f"{number} {UNITS.get(metric.unit, '')}".strip()

    def format_certainty(self, finding: Finding, named: bool = True) -> str:
        """Return the interval and p-value of a difference.

        Args:
            finding: The finding.
            named: Name the interval with its level, for example `95 % interval`.

        Returns:
            Interval and Holm-corrected p-value; at an interim look, the uncorrected p-value and
            the level of the look.
        """
        difference = finding.difference
        digits = self.names.get_digits(finding.metric.name)
        interval = (
            f"{_format_signed_text(difference.low, digits)}"
            f" to {_format_signed_text(difference.high, digits)}"
        )
        if named:
            interval = f"{format_confidence_level(self.names.alpha)} interval {interval}"
        if finding.level is None:
            return f"{interval}, {_format_test(difference.p_corrected)}"
        return f"{interval}, {_format_test(difference.p)} at a level of {finding.level:.2g}"

    def _describe_unchanged(self, findings: Sequence[Finding], subject: str) -> Iterator[str]:
        """Yield sentences about metrics without significant difference, by weakest verdict."""
        by_verdict: dict[str, dict[Metric, list[Finding]]] = {}
        for metric, found in _group_by_metric(findings).items():
            present = {finding.difference.verdict for finding in found}
            weakest = next((v for v in _WEAKEST_FIRST if v in present), "no pairs")
            matching = [f for f in found if f.difference.verdict == weakest]
            by_verdict.setdefault(weakest, {})[metric] = matching
        writers: dict[str, Callable[[dict[Metric, list[Finding]]], str]] = {
            "no effect detected": partial(self._describe_not_detected, subject),
            "undecided so far": self._describe_undecided,
            "one seed: no claim": self._describe_one_seed,
            "no spread: no claim": self._describe_no_spread,
            "no pairs": self._describe_no_pairs,
        }
        for verdict, write in writers.items():
            if verdict in by_verdict:
                yield write(by_verdict[verdict])

    def _describe_not_detected(self, subject: str, found: dict[Metric, list[Finding]]) -> str:
        """Name the metrics with the smallest detectable change, the largest of all data sets."""
        names: list[str] = []
        for metric, findings in found.items():
            name = self.names.get_display_name(metric.name)
            sizes = [finding.difference.detectable for finding in findings]
            known = [size for size in sizes if size is not None]
            if len(known) == len(sizes):
                size_text = self._format_size(max(known), metric)
                name += f" (MDE {size_text})"
            names.append(name)
        of_subject = f" of {subject}" if subject else ""
        return f"No effect{of_subject} was detected on {join_words(names, 'or')}."

    def _describe_undecided(self, found: dict[Metric, list[Finding]]) -> str:
        parts = []
        for metric, (finding, *_) in found.items():
            name = self.names.get_display_name(metric.name)
            amount = self._format_signed_amount(finding.difference.mean, metric)
            parts.append(f"{name} ({amount} with {format_count(finding.difference.n, 'seed')})")
        return f"Not decided yet on {join_words(parts)}."

    def _describe_one_seed(self, found: dict[Metric, list[Finding]]) -> str:
        return f"One seed alone allows no claim: {self._list_amounts(found)}."

    def _describe_no_spread(self, found: dict[Metric, list[Finding]]) -> str:
        amounts = self._list_amounts(found)
        return f"Every seed gave the same difference, which no test can judge: {amounts}."

    def _list_amounts(self, found: dict[Metric, list[Finding]]) -> str:
        parts = []
        for metric, (finding, *_) in found.items():
            name = self.names.get_display_name(metric.name)
            amount = self._format_signed_amount(finding.difference.mean, metric)
            parts.append(f"{name} {amount}")
        return join_words(parts)

    def _describe_no_pairs(self, found: dict[Metric, list[Finding]]) -> str:
        names = [self.names.get_display_name(metric.name) for metric in found]
        return f"No seed has a result of both sides on {join_words(names, 'or')}."


_DIRECTED_VERDICTS = ("helps", "hurts")
_WEAKEST_FIRST = (
    "undecided so far",
    "no effect detected",
    "one seed: no claim",
    "no spread: no claim",
    "no pairs",
)


def _group_by_metric(findings: Iterable[Finding]) -> dict[Metric, list[Finding]]:
    by_metric: dict[Metric, list[Finding]] = {}
    for finding in findings:
        by_metric.setdefault(finding.metric, []).append(finding)
    return by_metric


def _format_signed_text(value: float | None, digits: int) -> str:
    return format_signed(value, digits).replace("-", "−")


def _format_test(p_value: float | None) -> str:
    text = format_p_value(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _format_dataset_share(some: int, total: int) -> str:
    share = "all" if some == total else f"{some} of"
    return f"{share} {total} data sets"
