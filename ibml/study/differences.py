"""Bit-exact comparison of a repeated trial's metrics with the recorded ones."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ibml.records import MetricRow

Epochs = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class MetricMismatch:
    """A metric whose values differ from the recorded ones.

    Attributes:
        metric: Name of the metric.
        source: Place of the recorded values, for example "MLflow".
        epoch: First epoch with a difference; None for the final value.
        then: Recorded value in that epoch; None if there is no such value.
        now: Value of the repeated trial; None if there is no such value.
        count: Number of epochs that differ.
        largest: Largest absolute difference; NaN if no epoch has both values.
    """

    metric: str
    source: str
    epoch: int | None
    then: float | None
    now: float | None
    count: int = 1
    largest: float = math.nan

    def __str__(self) -> str:
        where = "at the end" if self.epoch is None else f"first in epoch {self.epoch}"
        values = f"{_format_value(self.then)} in {self.source}, {_format_value(self.now)} now"
        if self.then is None or self.now is None:
            return f"{self.metric}, {where}: {values}"
        text = f"{self.metric}, {where}: {values}, which is {self.now - self.then:+.3g}"
        if self.count == 1:
            return text
        return f"{text}; in {self.count} epochs, by at most {self.largest:.3g}"


def compare_epochs(
    source: str, then: Epochs, rows: Sequence[MetricRow], final: MetricRow
) -> Iterator[MetricMismatch]:
    """Find the metrics that differ in any epoch.

    Metrics in `final` are skipped, since MLflow stores their final values in the last epoch.

    Args:
        source: Place of the recorded values, for the messages.
        then: Recorded values per epoch, by metric.
        rows: Metrics per epoch of the repeated trial.
        final: Final metrics of the repeated trial.

    Yields:
        One mismatch per metric that differs.
    """
    names = dict.fromkeys([*(rows[0] if rows else ()), *then])
    for name in names:
        if name in final or not is_compared(name):
            continue
        yield from _compare_metric(
            name, source, then.get(name, ()), [row.get(name) for row in rows]
        )


def _compare_metric(
    name: str, source: str, then: Sequence[float], now: Sequence[float | None]
) -> Iterator[MetricMismatch]:
    """Yield the mismatch of one metric over all epochs, if there is one."""
    found: list[tuple[int, float | None, float | None]] = []
    sizes: list[float] = []
    for epoch, (old, new) in enumerate(zip_longest(then, now)):
        if _is_equal(old, new):
            continue
        found.append((epoch, old, new))
        if old is not None and new is not None:
            sizes.append(abs(new - old))
    if found:
        yield MetricMismatch(name, source, *found[0], len(found), max(sizes, default=math.nan))


def compare_final_metrics(source: str, then: MetricRow, now: MetricRow) -> Iterator[MetricMismatch]:
    """Find the metrics whose final values differ.

    Args:
        source: Place of the recorded values, for the messages.
        then: Recorded final metrics.
        now: Final metrics of the repeated trial.

    Yields:
        One mismatch per metric that differs.
    """
    for name in dict.fromkeys([*now, *then]):
        old, new = then.get(name), now.get(name)
        if is_compared(name) and not _is_equal(old, new):
            yield MetricMismatch(name, source, None, old, new)


def is_compared(name: str) -> bool:
    """Return True if a metric is a result.

    Costs (times, sample counts) are not compared, since earlier versions recorded fewer of them.
    """
    return name != "epoch" and not name.startswith(("time.", "samples."))


def _is_equal(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return then in (now, _to_stored_value(now)) or (math.isnan(then) and math.isnan(now))


def _to_stored_value(value: float) -> float:
    """Return a value as MLflow's databases store it: infinity becomes the largest float."""
    if math.isinf(value):
        return math.copysign(sys.float_info.max, value)
    return value


def _format_value(value: float | None) -> str:
    return "nothing" if value is None else repr(value)
