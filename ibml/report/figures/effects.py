"""Effects of factors: two that interact, and the values of one."""

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

from ibml.report.figures.style import (
    COLOURS,
    WIDTH,
    add_legend_below,
    apply_style,
    assign_looks,
    create_panels,
    draw_placeholder,
    estimate_width,
    format_numeral,
    get_finite,
    label_rows,
    name_ticks,
    shorten,
    shorten_names,
)
from ibml.statistics.paired import Summary, summarise

Estimate = tuple[float | None, float | None, float | None]
"""A mean and the ends of its interval."""
_LOG_SCALE_RATIO = 8.0
"""Values whose largest is this many times the smallest positive one are shown on a logarithmic axis."""


@dataclass(frozen=True)
class Interaction:
    """Means of the combinations of two factors' levels; what is not known may be missing."""

    factor_a: str
    factor_b: str
    levels_a: tuple[str, ...]
    levels_b: tuple[str, ...]
    means: Mapping[tuple[str, str], Estimate]

    def get_estimates(self, level_b: str) -> list[Estimate]:
        """One for each level of A; where there is no mean there is no interval."""
        found = [self.means.get((level, level_b), (None, None, None)) for level in self.levels_a]
        return [
            (get_finite(m), get_finite(low), get_finite(high))
            if get_finite(m) is not None
            else (None,) * 3
            for m, low, high in found
        ]


@apply_style
def draw_interactions(pairs: Sequence[Interaction], label: str) -> Figure:
    """A panel for each pair: factor A on the x axis, a line for each level of B with the intervals of its means.
    Parallel lines: the factors do not interact."""
    drawn = [
        p for p in pairs if any(e[0] is not None for b in p.levels_b for e in p.get_estimates(b))
    ]
    if not drawn:
        return draw_placeholder(f"No combination of two factors has a mean to show: {label}.")
    legends = [
        estimate_width([*shorten_names(p.levels_b, 18, 2), shorten(p.factor_b, 22, 3)])
        for p in drawn
    ]
    width = 2.3 + 0.2 * min(8, max(len(p.levels_a) for p in drawn)) + max(legends)
    figure, places = create_panels(
        len(drawn), width, 2.6, max(1, int(1.2 * WIDTH / width)), sharey=True
    )
    for axes, pair in zip(places, drawn, strict=True):
        _draw_interaction(axes, pair)
    label_rows(places, label)
    return figure


def _draw_interaction(axes: Axes, pair: Interaction) -> None:
    style = assign_looks(pair.levels_b)
    step = min(0.12, 0.5 / max(1, len(style)))
    for position, (level, look) in enumerate(style.items()):
        x = np.arange(len(pair.levels_a)) + step * (position - (len(style) - 1) / 2)
        found = pair.get_estimates(level)
        mean = np.array([np.nan if e[0] is None else e[0] for e in found])
        for spot, (_, low, high) in zip(x, found, strict=True):
            if low is not None and high is not None:
                axes.plot(
                    [spot, spot],
                    [low, high],
                    color=look.colour,
                    linewidth=0.9,
                    marker="_",
                    markersize=4,
                )
        axes.plot(x, mean, **look.get_line_options())
    slanted = len(pair.levels_a) > 5
    name_ticks(
        axes,
        range(len(pair.levels_a)),
        shorten_names(pair.levels_a, 26 if slanted else 11, 1 if slanted else 2),
        slanted,
    )
    axes.set_xlim(-0.5, len(pair.levels_a) - 0.5)
    axes.set_xlabel(shorten(pair.factor_a, 36))
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
    handles = [Line2D([], [], **look.get_line_options()) for look in style.values()]
    axes.legend(
        handles,
        shorten_names(style, 18, 2),
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
    """Where values stand: positions in their order, the axis' scale, ticks with labels, and the place of a zero that
    a logarithmic axis does not have."""

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
    """(value of the factor, results of its seeds) -> mean ± standard deviation over seeds, each seed a faint point.

    Numbers stand on a linear axis, or on a logarithmic one if all are at least 0 and the largest is at least 8 times
    the smallest positive one; zero is then at the left, behind a break. Other values are categories, in their order.
    """
    kept = [
        (value, [v for seed in seeds if (v := get_finite(seed)) is not None])
        for value, seeds in points
    ]
    kept = [(value, seeds) for value, seeds in kept if seeds]
    if not kept:
        return draw_placeholder(f"No value of {path} has a result to show: {label}.")
    if all(_is_number(value) for value, _ in kept):
        kept.sort(key=lambda point: float(str(point[0])))
    place = _build_axis([value for value, _ in kept])
    named = place.scale == "categories"
    figure, (axes,) = create_panels(
        1, max(3.2, min(WIDTH, 2 + 0.7 * len(kept))) if named else 4.6, 3.0
    )
    if place.scale == "log":
        axes.set_xscale("log")
    for x, (_, seeds) in zip(place.positions, kept, strict=True):
        axes.plot(
            [x] * len(seeds), seeds, ".", color=COLOURS[0], alpha=0.35, markersize=5, zorder=2
        )
    _draw_means(axes, place, [summarise(seeds) for _, seeds in kept], joined=not named)
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", linestyle="none" if named else "-"),
        Line2D([], [], color=COLOURS[0], marker=".", linestyle="none", alpha=0.35),
    ]
    texts = ["mean ± standard deviation", "a seed"]
    marked = [
        x
        for x, (value, _) in zip(place.positions, kept, strict=True)
        if _is_equal(value, reference_value)
    ]
    if marked:
        axes.axvline(marked[0], color=COLOURS[1], linestyle=":", linewidth=1.3, zorder=1)
        handles.append(Line2D([], [], color=COLOURS[1], linestyle=":"))
        texts.append(shorten(f"reference ({_format_value(reference_value)})", 30, 1))
    _finish(axes, place)
    axes.set_xlabel(shorten(path, 60))
    axes.set_ylabel(shorten(label, 40))
    add_legend_below(figure, handles, texts)
    return figure


def _draw_means(axes: Axes, place: _Axis, summaries: Sequence[Summary], joined: bool) -> None:
    x = np.array(place.positions)
    mean = np.array([s.mean for s in summaries], dtype=float)
    sd = np.array([0.0 if s.sd is None else s.sd for s in summaries])
    axes.errorbar(
        x, mean, yerr=sd, color=COLOURS[0], fmt="o", capsize=2.5, elinewidth=1.1, zorder=3
    )
    if joined:
        first = 1 if place.zero is not None else 0
        axes.plot(x[first:], mean[first:], color=COLOURS[0], zorder=3)
        if first:
            axes.plot(x[:2], mean[:2], color=COLOURS[0], linestyle=(0, (1, 1.5)), zorder=3)


def _finish(axes: Axes, place: _Axis) -> None:
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
    if place.scale == "linear":
        return
    slanted = place.scale == "categories" and len(place.ticks) > 6
    axes.xaxis.set_minor_locator(NullLocator())
    name_ticks(axes, place.ticks, place.labels, slanted)
    if place.scale == "categories":
        axes.set_xlim(-0.6, len(place.ticks) - 0.4)
    if place.zero is not None:
        middle = math.sqrt(place.zero * place.positions[1])
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
    if not all(_is_number(value) for value in values):
        named = tuple(
            shorten_names(
                map(_format_value, values),
                26 if len(values) > 6 else 13,
                1 if len(values) > 6 else 2,
            )
        )
        spots = tuple(map(float, range(len(values))))
        return _Axis(spots, "categories", spots, named)
    numbers = [float(str(value)) for value in values]
    positive = [v for v in numbers if v > 0]
    if min(numbers) < 0 or not positive or max(positive) < _LOG_SCALE_RATIO * min(positive):
        return _Axis(tuple(numbers), "linear")
    # As far left of the smallest as the others are from each other on average, at most two decades.
    steps = max(1, len(set(positive)) - 1)
    zero = min(positive) / min(100.0, (max(positive) / min(positive)) ** (1 / steps))
    spots = tuple(v or zero for v in numbers)
    ticks = _select_spaced(spots)
    labels = tuple(format_numeral(0.0 if tick < min(positive) else tick) for tick in ticks)
    return _Axis(spots, "log", ticks, labels, zero if 0 in numbers else None)


def _select_spaced(positions: Sequence[float], share: float = 0.08) -> tuple[float, ...]:
    """The positions, without those so near to the one before on a logarithmic axis that labels would overlap."""
    least = share * math.log(max(positions) / min(positions))
    kept: list[float] = []
    for position in sorted(set(positions)):
        if not kept or math.log(position / kept[-1]) >= least:
            kept.append(position)
    return tuple(kept)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_equal(value: object, reference: object) -> bool:
    """Equal, but 1 is not True."""
    return value == reference and isinstance(value, bool) == isinstance(reference, bool)


def _format_value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
