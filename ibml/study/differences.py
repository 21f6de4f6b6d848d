"""Whether the numbers of a trial that ran again are those that were recorded, bit for bit."""

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
    """A metric that is not as it was recorded in `source`: `then` and `now` are its values in the first such epoch, or
    at the end where `epoch` is none, and are none where there is no value. `count` epochs differ, by at most `largest`.
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
        return (
            text
            if self.count == 1
            else f"{text}; in {self.count} epochs, by at most {self.largest:.3g}"
        )


def compare_epochs(
    source: str, then: Epochs, rows: Sequence[MetricRow], final: MetricRow
) -> Iterator[MetricMismatch]:
    """Metrics that differ in an epoch; those of the end, which MLflow has in the last epoch, are not looked at."""
    names = dict.fromkeys([*(rows[0] if rows else ()), *then])
    for name in names:
        if name in final or not is_compared(name):
            continue
        pairs = enumerate(zip_longest(then.get(name, ()), (row.get(name) for row in rows)))
        found = [(epoch, was, now) for epoch, (was, now) in pairs if not _is_equal(was, now)]
        if found:
            sizes = [abs(now - was) for _, was, now in found if was is not None and now is not None]
            yield MetricMismatch(name, source, *found[0], len(found), max(sizes, default=math.nan))


def compare_final_metrics(source: str, then: MetricRow, now: MetricRow) -> Iterator[MetricMismatch]:
    """Metrics whose last values differ."""
    for name in dict.fromkeys([*now, *then]):
        was, is_ = then.get(name), now.get(name)
        if is_compared(name) and not _is_equal(was, is_):
            yield MetricMismatch(name, source, None, was, is_)


def is_compared(name: str) -> bool:
    """Whether the metric is a result, and not what it cost, of which earlier versions recorded less."""
    return name != "epoch" and not name.startswith(("time.", "samples."))


def _is_equal(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return then in (now, _to_stored_value(now)) or (math.isnan(then) and math.isnan(now))


def _to_stored_value(value: float) -> float:
    """MLflow's databases have the largest number in place of infinity."""
    return math.copysign(sys.float_info.max, value) if math.isinf(value) else value


def _format_value(value: float | None) -> str:
    return "nothing" if value is None else repr(value)
