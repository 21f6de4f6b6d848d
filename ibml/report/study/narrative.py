"""What was found about an arm, a part or an effect, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

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
"""Of differences: those of percentages are percentage points."""


@dataclass(frozen=True)
class Finding:
    """One difference; `level`: what its p was compared with, where seeds were added until arms were decided."""

    dataset: str
    metric: Metric
    difference: Difference
    level: float | None = None


@dataclass(frozen=True)
class Narrative:
    """How findings of a study are said: its names, digits and level, and how many data sets there are."""

    names: TableConfig
    datasets: int

    def write_sentences(self, findings: Sequence[Finding], subject: str = "") -> list[str]:
        """What helps, what hurts, what was not detected, and what nothing can be said of; the metrics in order.

        `subject`: what does so, where that is more than the arm itself.
        """
        found = [f for f in findings if f.difference.verdict in _DIRECTED_VERDICTS]
        said: list[str] = []
        for verb in _DIRECTED_VERDICTS:
            of_verdict = [f for f in found if f.difference.verdict == verb]
            if of_verdict:
                clauses = join_words(self._describe_changes(of_verdict, named=not said))
                said.append(f"{capitalize_first(f'{subject} {verb}'.strip())}: {clauses}.")
        moved = {f.metric for f in found}
        return [
            *said,
            *self._describe_unchanged([f for f in findings if f.metric not in moved], subject),
        ]

    def _describe_changes(self, findings: Sequence[Finding], named: bool) -> list[str]:
        """A clause for each metric: where it moves, and where the most. What the two numbers of an interval are is
        said at the first one, if it is to be `named`."""
        clauses: list[str] = []
        for metric in dict.fromkeys(f.metric for f in findings):
            of_metric = [f for f in findings if f.metric == metric]
            most = max(of_metric, key=lambda f: abs(f.difference.mean or 0.0))
            name = self.names.get_display_name(metric.name)
            verb = "rises" if (most.difference.mean or 0.0) > 0 else "falls"
            if self.datasets > 1:
                verb += f" on {_format_dataset_share(len(of_metric), self.datasets)}"
                verb += f", {'most ' if len(of_metric) > 1 else ''}on {self.names.get_display_name(most.dataset)}"
            clauses.append(
                f"{name} {verb} by {self.format_amount(most)} ({self.format_certainty(most, named and not clauses)})"
            )
        return clauses

    def format_amount(self, finding: Finding) -> str:
        """The size of a difference with its unit."""
        return self._format_size(abs(finding.difference.mean or 0.0), finding.metric)

    def _format_size(self, value: float, metric: Metric) -> str:
        return f"{format_number(value, self.names.get_digits(metric.name))} {UNITS.get(metric.unit, '')}".strip()

    def _format_signed_amount(self, value: float | None, metric: Metric) -> str:
        text = format_signed(value, self.names.get_digits(metric.name)).replace("-", "−")
        return f"{text} {UNITS.get(metric.unit, '')}".strip()

    def format_certainty(self, finding: Finding, named: bool = True) -> str:
        """Interval and p of a difference; the p that is compared with alpha, or with the level of a look."""
        d, digits = finding.difference, self.names.get_digits(finding.metric.name)
        ends = [format_signed(end, digits).replace("-", "−") for end in (d.low, d.high)]
        p = format_p_value(d.p if finding.level is not None else d.p_corrected)
        tested = f"p {p}" if p.startswith("<") else f"p = {p}"
        level = "" if finding.level is None else f" at a level of {finding.level:.2g}"
        interval = f"{format_confidence_level(self.names.alpha)} interval " if named else ""
        return f"{interval}{ends[0]} to {ends[1]}, {tested}{level}"

    def _describe_unchanged(self, findings: Sequence[Finding], subject: str) -> Iterable[str]:
        """What is said of metrics that move nowhere, by the verdict that says the least."""
        by_metric = {
            metric: [f for f in findings if f.metric == metric]
            for metric in _list_metrics(findings)
        }
        verdicts: dict[str, dict[Metric, list[Finding]]] = {}
        for metric, of_metric in by_metric.items():
            present = [f.difference.verdict for f in of_metric]
            last = next((v for v in _WEAKEST_FIRST if v in present), "no pairs")
            verdicts.setdefault(last, {})[metric] = [
                f for f in of_metric if f.difference.verdict == last
            ]
        say: dict[str, Callable[[dict[Metric, list[Finding]]], str]] = {
            "no effect detected": partial(self._describe_not_detected, subject),
            "undecided so far": self._describe_undecided,
            "one seed: no claim": self._describe_one_seed,
            "no spread: no claim": self._describe_no_spread,
            "no pairs": self._describe_no_pairs,
        }
        return (
            sentence(verdicts[verdict]) for verdict, sentence in say.items() if verdict in verdicts
        )

    def _describe_not_detected(self, subject: str, found: dict[Metric, list[Finding]]) -> str:
        """With the change that has a power of 0.8: of several data sets, on each."""
        names, first = [], True
        for metric, of_metric in found.items():
            sizes = [f.difference.detectable for f in of_metric]
            name = self.names.get_display_name(metric.name)
            known = [size for size in sizes if size is not None]
            if len(known) == len(sizes):
                size = self._format_size(max(known), metric)
                everywhere = " on each data set" if len(of_metric) > 1 else ""
                name += (
                    f" (a change of {size} would have shown{everywhere} 4 times in 5)"
                    if first
                    else f" ({size})"
                )
                first = False
            names.append(name)
        of = f" of {subject}" if subject else ""
        return f"No effect{of} was detected on {join_words(names, 'or')}."

    def _describe_undecided(self, found: dict[Metric, list[Finding]]) -> str:
        parts = [
            f"{self.names.get_display_name(m.name)} ({self._format_signed_amount(f.difference.mean, m)} with {format_seed_count(f.difference.n)})"
            for m, (f, *_) in found.items()
        ]
        return f"Not decided yet on {join_words(parts)}."

    def _describe_one_seed(self, found: dict[Metric, list[Finding]]) -> str:
        parts = [
            f"{self.names.get_display_name(m.name)} {self._format_signed_amount(f.difference.mean, m)}"
            for m, (f, *_) in found.items()
        ]
        return f"One seed alone allows no claim: {join_words(parts)}."

    def _describe_no_spread(self, found: dict[Metric, list[Finding]]) -> str:
        parts = [
            f"{self.names.get_display_name(m.name)} {self._format_signed_amount(f.difference.mean, m)}"
            for m, (f, *_) in found.items()
        ]
        return f"Every seed gave the same difference, which no test can judge: {join_words(parts)}."

    def _describe_no_pairs(self, found: dict[Metric, list[Finding]]) -> str:
        return f"No seed has a result of both sides on {join_words([self.names.get_display_name(m.name) for m in found], 'or')}."


_DIRECTED_VERDICTS = ("helps", "hurts")
_WEAKEST_FIRST = (
    "undecided so far",
    "no effect detected",
    "one seed: no claim",
    "no spread: no claim",
    "no pairs",
)


def _list_metrics(findings: Iterable[Finding]) -> list[Metric]:
    return list(dict.fromkeys(f.metric for f in findings))


def join_words(parts: Sequence[str], word: str = "and") -> str:
    """`a, b and c`."""
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}" if len(parts) > 1 else "".join(parts)


def format_seed_count(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def format_dataset_count(count: int) -> str:
    return f"{count} data set{'' if count == 1 else 's'}"


def _format_dataset_share(some: int, every: int) -> str:
    return f"{'all' if some == every else f'{some} of'} {every} data sets"
