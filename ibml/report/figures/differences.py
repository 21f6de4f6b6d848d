"""Differences to a reference: a forest of intervals, and the seeds behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ibml.report.figures.style import (
    COLOURS,
    DARK,
    GREY,
    PALE,
    VERDICTS,
    WIDTH,
    add_legend_below,
    apply_style,
    build_verdict_handles,
    create_panels,
    draw_placeholder,
    estimate_width,
    format_signed_label,
    get_finite,
    get_mean_and_interval,
    name_ticks,
    shorten,
    shorten_names,
)
from ibml.statistics.paired import Difference

_MAX_SCALE_RATIO = 4.0
"""Panels whose ranges differ by more have axes of their own, else the narrow ones would show nothing."""


@apply_style
def draw_forest(
    differences: Mapping[str, Mapping[str, Difference]],
    reference: str,
    label: str,
    higher_is_better: bool,
    alpha: float = 0.05,
    digits: int = 2,
) -> Figure:
    """Data set -> arm -> difference to the reference: mean, 1 - alpha interval, verdict, and as a grey band what the
    seeds could not have detected. A panel for each data set; one alone has the numbers at its right."""
    arms = list(
        dict.fromkeys(arm for column in differences.values() for arm in column if arm != reference)
    )
    if not any(
        get_mean_and_interval(d)
        for column in differences.values()
        for arm, d in column.items()
        if arm != reference
    ):
        return draw_placeholder(f"No arm has a pair with {reference} to compare: {label}.")
    names = shorten_names(arms)
    left = estimate_width(names)
    alone = len(differences) == 1
    height = 0.75 + max(0.24, 0.15 * (1 + max(name.count("\n") for name in names))) * len(arms)
    width = WIDTH - left if alone else max(1.5, (WIDTH + 1 - left) / min(4, len(differences)))
    share = _can_share_scale(differences, reference)
    figure, places = create_panels(
        len(differences), width, height, names=left, sharey=True, sharex=share
    )
    for axes, (dataset, column) in zip(places, differences.items(), strict=True):
        _draw_column(axes, [column.get(arm, Difference(0, 0)) for arm in arms])
        if not alone:
            axes.set_title(shorten(dataset, 24))
    places[0].set_yticks(range(len(arms)), names)
    places[0].set_ylim(len(arms) - 0.4, -0.6)
    if alone:
        _add_numbers(places[0], [next(iter(differences.values()))[arm] for arm in arms], digits)
    better = "right" if higher_is_better else "left"
    arrow = "→" if higher_is_better else "←"
    text = shorten(f"{label}: difference to {reference}", 80)
    note = f"{text}\n{100 * (1 - alpha):g} % interval; better to the {better} {arrow}"
    _add_legend(
        figure,
        [d for column in differences.values() for arm, d in column.items() if arm != reference],
        note,
    )
    return figure


def _can_share_scale(differences: Mapping[str, Mapping[str, Difference]], reference: str) -> bool:
    """Whether the panels' ranges are near enough for one scale."""
    reach = []
    for column in differences.values():
        ends = [get_mean_and_interval(d) for arm, d in column.items() if arm != reference]
        reach.append(max((abs(end) for three in ends if three for end in three), default=0.0))
    used = [r for r in reach if r > 0]
    return not used or max(used) <= _MAX_SCALE_RATIO * min(used)


def _draw_column(axes: Axes, differences: Sequence[Difference]) -> None:
    axes.use_sticky_edges = False  # else a band that is the widest would look cut off
    axes.axvline(0, color=DARK, linewidth=0.8, zorder=1)
    for row, difference in enumerate(differences):
        detectable = get_finite(difference.detectable)
        if detectable is not None:
            axes.barh(row, 2 * detectable, left=-detectable, height=0.66, color=PALE, zorder=0)
        mark(axes, row, difference)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#EEEEEE", linewidth=0.6)


def mark(axes: Axes, row: float, difference: Difference) -> None:
    """A difference and its interval at a height, with the look of its verdict."""
    ends = get_mean_and_interval(difference)
    if ends is None:
        axes.text(0, row, " no pairs", color=GREY, fontsize=7, va="center", fontstyle="italic")
        return
    mean, low, high = ends
    look = VERDICTS[difference.verdict]
    if high > low:
        axes.plot([low, high], [row, row], color=look.colour, marker="|", markersize=5, zorder=3)
    axes.plot([mean], [row], **look.get_line_options(linestyle="none", zorder=4))


def _add_numbers(axes: Axes, differences: Sequence[Difference], digits: int) -> None:
    """Means and intervals as text at the right of the rows."""
    texts = []
    for difference in differences:
        ends = get_mean_and_interval(difference)
        if ends is None:
            texts.append("–")
        elif ends[1] == ends[2]:
            texts.append(format_signed_label(ends[0], digits))
        else:
            mean, low, high = (format_signed_label(end, digits) for end in ends)
            texts.append(f"{mean} [{low}, {high}]")
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(texts)), texts)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)


def _add_legend(figure: Figure, differences: Sequence[Difference], note: str) -> None:
    handles, labels = build_verdict_handles(d.verdict for d in differences)
    if any(get_finite(d.detectable) is not None for d in differences):
        handles.append(Patch(color=PALE))
        labels.append("too small to be detected (power 0.8)")
    add_legend_below(figure, handles, labels, note)


@apply_style
def draw_paired_runs(
    values: Mapping[str, Mapping[int, float | None]], reference: str, label: str
) -> Figure:
    """Arm -> seed -> value: a thin line for each seed, with a gap where an arm has no value of it; a thick mark at
    the mean of all seeds of an arm, and a dotted line at that of the reference."""
    arms = list(values)
    seeds = list(dict.fromkeys(seed for column in values.values() for seed in column))
    grid = np.array(
        [[_convert_to_float(values[arm].get(seed)) for arm in arms] for seed in seeds], dtype=float
    )
    if not np.isfinite(grid).any():
        return draw_placeholder(f"No arm has a value to show: {label}.")
    slanted = len(arms) > 6
    names = shorten_names(
        (f"{arm} (reference)" if arm == reference else arm for arm in arms),
        26 if slanted else 14,
        1 if slanted else 2,
    )
    figure, (axes,) = create_panels(1, max(3.2, min(WIDTH, 1.1 + 0.75 * len(arms))), 2.8)
    places = np.arange(len(arms))
    for line in grid:
        axes.plot(
            places, line, color=COLOURS[0], linewidth=0.8, alpha=0.5, marker=".", markersize=5
        )
    means = [
        float(column[np.isfinite(column)].mean()) if np.isfinite(column).any() else np.nan
        for column in grid.T
    ]
    axes.hlines(means, places - 0.28, places + 0.28, color=DARK, linewidth=2.6, zorder=3)
    handles: list[Artist] = [
        Line2D([], [], color=COLOURS[0], linewidth=0.8, alpha=0.5, marker=".", markersize=5),
        Line2D([], [], color=DARK, linewidth=2.6),
    ]
    texts = ["a seed", "mean of the seeds"]
    if reference in values and np.isfinite(means[arms.index(reference)]):
        handles.append(
            axes.axhline(
                means[arms.index(reference)], color=COLOURS[1], linestyle=":", linewidth=1.2
            )
        )
        texts.append("mean of the reference")
    for place in np.flatnonzero(~np.isfinite(means)):
        axes.annotate(
            "no value",
            (place, 0.02),
            xycoords=("data", "axes fraction"),
            rotation=90,
            **_MISSING_VALUE_STYLE,
        )
    name_ticks(axes, places.tolist(), names, slanted)
    axes.set_xlim(-0.5, len(arms) - 0.5)
    axes.set_ylabel(shorten(label, 44))
    add_legend_below(figure, handles, texts)
    return figure


_MISSING_VALUE_STYLE: dict[str, Any] = {
    "ha": "center",
    "va": "bottom",
    "color": GREY,
    "fontsize": 7,
    "fontstyle": "italic",
}


def _convert_to_float(value: float | None) -> float:
    number = get_finite(value)
    return np.nan if number is None else number
