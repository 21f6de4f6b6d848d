"""Effects of factors: interactions of two factors, and results by the value of one factor."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from ibml.report.figures.labels import format_numeral, shorten, shorten_names
from ibml.report.figures.style import (
    COLOURS,
    WIDTH,
    add_legend_below,
    apply_style,
    assign_looks,
    create_panels,
    draw_placeholder,
    estimate_width,
    get_finite,
    label_rows,
    name_ticks,
)
from ibml.statistics.paired import Summary, summarise

Estimate = tuple[float | None, float | None, float | None]
"""A mean and the ends of its interval."""
_LOG_SCALE_RATIO = 8.0
"""Ratio of the largest to the smallest positive value from which the axis is logarithmic."""


@dataclass(frozen=True)
class Interaction:
    """Means of the combinations of two factors' levels.

    Attributes:
        factor_a: Displayed name of the factor on the x axis.
        factor_b: Displayed name of the factor with a line per level.
        levels_a: Levels of the first factor.
        levels_b: Levels of the second factor.
        means: (level of A, level of B) -> estimate; may lack combinations.
    """

    factor_a: str
    factor_b: str
    levels_a: tuple[str, ...]
    levels_b: tuple[str, ...]
    means: Mapping[tuple[str, str], Estimate]

    def get_estimates(self, level_b: str) -> list[Estimate]:
        """Return the estimates at a level of B, one per level of A; None where there is none."""
        estimates: list[Estimate] = []
        for level_a in self.levels_a:
            mean, low, high = self.means.get((level_a, level_b), (None, None, None))
            if get_finite(mean) is None:
                estimates.append((None, None, None))
            else:
                estimates.append((get_finite(mean), get_finite(low), get_finite(high)))
        return estimates

    def has_mean(self) -> bool:
        """Return True if the mean of a combination is known."""
        for level_b in self.levels_b:
            if any(mean is not None for mean, _, _ in self.get_estimates(level_b)):
                return True
        return False


@apply_style
def draw_interactions(pairs: Sequence[Interaction], label: str) -> Figure:
    """Draw interactions of factors, a panel for each pair.

    Factor A is on the x axis; each level of B has a line with the intervals of its means. Parallel
    lines mean that the factors do not interact.

    Args:
        pairs: Means of each pair of factors.
        label: Name of the metric with its unit.

    Returns:
        The figure; a sentence if no mean is known.
    """
    drawn = [pair for pair in pairs if pair.has_mean()]
    if not drawn:
        return draw_placeholder(f"No combination of two factors has a mean to show: {label}.")
    most_levels = max(len(pair.levels_a) for pair in drawn)
    legend_width = max(map(_estimate_legend_width, drawn))
    width = 2.3 + 0.2 * min(8, most_levels) + legend_width
    columns = max(1, int(1.2 * WIDTH / width))
    figure, panels = create_panels(len(drawn), width, 2.6, columns, sharey=True)
    for axes, pair in zip(panels, drawn, strict=True):
        _draw_interaction(axes, pair)
    label_rows(panels, label)
    return figure


def _estimate_legend_width(pair: Interaction) -> float:
    return estimate_width([*shorten_names(pair.levels_b, 18, 2), shorten(pair.factor_b, 22, 3)])


def _draw_interaction(axes: Axes, pair: Interaction) -> None:
    looks = assign_looks(pair.levels_b)
    step = min(0.12, 0.5 / max(1, len(looks)))
    for position, (level, look) in enumerate(looks.items()):
        x = np.arange(len(pair.levels_a)) + step * (position - (len(looks) - 1) / 2)
        estimates = pair.get_estimates(level)
        for center, (_, low, high) in zip(x, estimates, strict=True):
            if low is not None and high is not None:
                axes.plot(
                    [center, center],
                    [low, high],
                    color=look.colour,
                    linewidth=0.9,
                    marker="_",
                    markersize=4,
                )
        means = np.array([mean for mean, _, _ in estimates], dtype=float)
        axes.plot(x, means, **look.get_line_options())
    slanted = len(pair.levels_a) > 5
    names = shorten_names(pair.levels_a, 26 if slanted else 11, 1 if slanted else 2)
    name_ticks(axes, range(len(pair.levels_a)), names, slanted)
    axes.set_xlim(-0.5, len(pair.levels_a) - 0.5)
    axes.set_xlabel(shorten(pair.factor_a, 36))
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
    handles = [Line2D([], [], **look.get_line_options()) for look in looks.values()]
    axes.legend(
        handles,
        shorten_names(looks, 18, 2),
        title=shorten(pair.factor_b, 22, 3),
        title_fontsize=7.5,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.02),
        borderaxespad=0.0,
        handlelength=2.2,
        alignment="left",
    )


@dataclass(frozen=True)
class _Axis:
    """Axis of a factor's values.

    Attributes:
        positions: Position of each value.
        scale: `linear`, `log` or `categories`.
        ticks: Positions with a label; empty for matplotlib's own.
        labels: Labels of the ticks.
        zero: Position of a zero on a logarithmic axis; None without one.
    """

    positions: tuple[float, ...]
    scale: str
    ticks: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    zero: float | None = None


@apply_style
def draw_value_curve(
    path: str,
    points: Sequence[tuple[object, Sequence[float | None]]],
    reference_value: object,
    label: str,
) -> Figure:
    """Draw results by the value of a factor: mean ± standard deviation, and each seed as a point.

    Numbers are on a linear axis. The axis is logarithmic if no value is negative and the largest is
    at least 8 times the smallest positive one; a zero is then at the left, behind a break. Other
    values are categories, in their order.

    Args:
        path: Displayed name of the factor.
        points: Pairs of value and results of its seeds.
        reference_value: Value of the reference, marked by a line.
        label: Name of the metric with its unit.

    Returns:
        The figure; a sentence if no result is known.
    """
    known = _select_known(points)
    if not known:
        return draw_placeholder(f"No value of {path} has a result to show: {label}.")
    axis = _build_axis([value for value, _ in known])
    is_categorical = axis.scale == "categories"
    width = 4.6
    if is_categorical:
        width = max(3.2, min(WIDTH, 2 + 0.7 * len(known)))
    figure, (axes,) = create_panels(1, width, 3.0)
    if axis.scale == "log":
        axes.set_xscale("log")
    for x, (_, seeds) in zip(axis.positions, known, strict=True):
        spots = [x] * len(seeds)
        axes.plot(spots, seeds, ".", color=COLOURS[0], alpha=0.35, markersize=5, zorder=2)
    _draw_means(axes, axis, [summarise(seeds) for _, seeds in known], joined=not is_categorical)
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", linestyle="none" if is_categorical else "-"),
        Line2D([], [], color=COLOURS[0], marker=".", linestyle="none", alpha=0.35),
    ]
    texts = ["mean ± standard deviation", "a seed"]
    for x, (value, _) in zip(axis.positions, known, strict=True):
        if _is_equal(value, reference_value):
            axes.axvline(x, color=COLOURS[1], linestyle=":", linewidth=1.3, zorder=1)
            handles.append(Line2D([], [], color=COLOURS[1], linestyle=":"))
            texts.append(shorten(f"reference ({_format_value(reference_value)})", 30, 1))
            break
    _finish(axes, axis)
    axes.set_xlabel(shorten(path, 60))
    axes.set_ylabel(shorten(label, 40))
    add_legend_below(figure, handles, texts)
    return figure


def _select_known(
    points: Sequence[tuple[object, Sequence[float | None]]],
) -> list[tuple[object, list[float]]]:
    """Return the values that have finite results; numbers in ascending order."""
    known = []
    for value, results in points:
        finite = [number for number in map(get_finite, results) if number is not None]
        if finite:
            known.append((value, finite))
    if all(_is_number(value) for value, _ in known):
        known.sort(key=lambda point: float(str(point[0])))
    return known


def _draw_means(axes: Axes, axis: _Axis, summaries: Sequence[Summary], joined: bool) -> None:
    x = np.array(axis.positions)
    mean = np.array([summary.mean for summary in summaries], dtype=float)
    sd = np.array([summary.sd or 0.0 for summary in summaries])
    axes.errorbar(
        x, mean, yerr=sd, color=COLOURS[0], fmt="o", capsize=2.5, elinewidth=1.1, zorder=3
    )
    if joined and axis.zero is None:
        axes.plot(x, mean, color=COLOURS[0], zorder=3)
    elif joined:
        axes.plot(x[1:], mean[1:], color=COLOURS[0], zorder=3)
        axes.plot(x[:2], mean[:2], color=COLOURS[0], linestyle=(0, (1, 1.5)), zorder=3)


def _finish(axes: Axes, axis: _Axis) -> None:
    """Set grid, ticks, limits and the break before a zero."""
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
    if axis.scale == "linear":
        return
    is_categorical = axis.scale == "categories"
    axes.xaxis.set_minor_locator(NullLocator())
    name_ticks(axes, axis.ticks, axis.labels, slanted=is_categorical and len(axis.ticks) > 6)
    if is_categorical:
        axes.set_xlim(-0.6, len(axis.ticks) - 0.4)
    if axis.zero is not None:
        middle = math.sqrt(axis.zero * axis.positions[1])
        gap = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}
        axes.text(
            middle,
            0,
            "//",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="center",
            bbox=gap,
        )


def _build_axis(values: Sequence[object]) -> _Axis:
    if not all(map(_is_number, values)):
        return _build_categorical_axis(values)
    numbers = [float(str(value)) for value in values]
    positive = [number for number in numbers if number > 0]
    is_log = min(numbers) >= 0 and positive and max(positive) >= _LOG_SCALE_RATIO * min(positive)
    if not is_log:
        return _Axis(tuple(numbers), "linear")
    smallest = min(positive)
    # The zero is as far from the smallest value as the others are from each other on average, but
    # at most two decades.
    steps = max(1, len(set(positive)) - 1)
    zero = smallest / min(100.0, (max(positive) / smallest) ** (1 / steps))
    positions = tuple(number or zero for number in numbers)
    ticks = _select_spaced(positions)
    labels = tuple(format_numeral(0.0 if tick < smallest else tick) for tick in ticks)
    return _Axis(positions, "log", ticks, labels, zero if 0 in numbers else None)


def _build_categorical_axis(values: Sequence[object]) -> _Axis:
    texts = map(_format_value, values)
    labels = shorten_names(texts, 26, 1) if len(values) > 6 else shorten_names(texts, 13, 2)
    positions = tuple(map(float, range(len(values))))
    return _Axis(positions, "categories", positions, tuple(labels))


def _select_spaced(positions: Sequence[float], share: float = 0.08) -> tuple[float, ...]:
    """Return the positions whose labels do not overlap on a logarithmic axis.

    `share` is the smallest distance as a fraction of the axis.
    """
    least = share * math.log(max(positions) / min(positions))
    kept: list[float] = []
    for position in sorted(set(positions)):
        if not kept or math.log(position / kept[-1]) >= least:
            kept.append(position)
    return tuple(kept)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_equal(value: object, reference: object) -> bool:
    """Return True for equal values; 1 and True are not equal."""
    return value == reference and isinstance(value, bool) == isinstance(reference, bool)


def _format_value(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)
