"""Differences from a reference: forest plot of intervals, and plot of the paired seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ibml.report.figures.labels import format_signed_label, shorten, shorten_names
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
    get_finite,
    get_mean_and_interval,
    name_ticks,
)
from ibml.statistics.paired import Difference

_MAX_SCALE_RATIO = 4.0
"""Panels share an axis up to this ratio of ranges; beyond it, narrow ones would show nothing."""

_MISSING_VALUE_STYLE: dict[str, Any] = {
    "ha": "center",
    "va": "bottom",
    "color": GREY,
    "fontsize": 7,
    "fontstyle": "italic",
}


@apply_style
def draw_forest(
    differences: Mapping[str, Mapping[str, Difference]],
    reference: str,
    label: str,
    higher_is_better: bool,
    alpha: float = 0.05,
    digits: int = 2,
) -> Figure:
    """Draw differences from a reference as a forest plot, with a panel for each data set.

    A row shows mean, interval and verdict, and as a grey band the differences too small to be
    detected. A single panel also has the numbers.

    Args:
        differences: Data set -> arm -> difference from the reference.
        reference: Name of the reference; an arm of this name is left out.
        label: Name of the metric with its unit.
        higher_is_better: Direction of the metric.
        alpha: The intervals have the level 1 - alpha.
        digits: Decimals of the numbers.

    Returns:
        The figure; a sentence if no arm has a pair.
    """
    columns: dict[str, dict[str, Difference]] = {}
    for dataset, given in differences.items():
        columns[dataset] = {arm: d for arm, d in given.items() if arm != reference}
    compared = [difference for column in columns.values() for difference in column.values()]
    if not any(get_mean_and_interval(difference) for difference in compared):
        return draw_placeholder(f"No arm has a pair with {reference} to compare: {label}.")
    arms = list(dict.fromkeys(arm for column in columns.values() for arm in column))
    names = shorten_names(arms)
    left = estimate_width(names)
    is_single = len(columns) == 1
    most_lines = 1 + max(name.count("\n") for name in names)
    height = 0.75 + max(0.24, 0.15 * most_lines) * len(arms)
    width = WIDTH - left
    if not is_single:
        width = max(1.5, (WIDTH + 1 - left) / min(4, len(columns)))
    share = _can_share_scale(columns)
    figure, panels = create_panels(
        len(columns), width, height, names=left, sharey=True, sharex=share
    )
    for axes, (dataset, column) in zip(panels, columns.items(), strict=True):
        rows = [column.get(arm, Difference(0, 0)) for arm in arms]
        _draw_column(axes, rows)
        if not is_single:
            axes.set_title(shorten(dataset, 24))
    panels[0].set_yticks(range(len(arms)), names)
    panels[0].set_ylim(len(arms) - 0.4, -0.6)
    if is_single:
        (column,) = columns.values()
        _add_numbers(panels[0], [column[arm] for arm in arms], digits)
    direction = "right →" if higher_is_better else "left ←"
    title = shorten(f"{label}: difference to {reference}", 80)
    note = f"{title}\n{100 * (1 - alpha):g} % interval; better to the {direction}"
    _add_legend(figure, compared, note)
    return figure


def _can_share_scale(columns: Mapping[str, Mapping[str, Difference]]) -> bool:
    """Return True if the ranges of the panels are similar enough for one scale."""
    ranges = []
    for column in columns.values():
        farthest = 0.0
        for difference in column.values():
            farthest = max(farthest, *map(abs, get_mean_and_interval(difference) or (0.0,)))
        if farthest > 0:
            ranges.append(farthest)
    return not ranges or max(ranges) <= _MAX_SCALE_RATIO * min(ranges)


def _draw_column(axes: Axes, differences: Sequence[Difference]) -> None:
    axes.use_sticky_edges = False  # Otherwise the widest band would look cut off.
    axes.axvline(0, color=DARK, linewidth=0.8, zorder=1)
    for row, difference in enumerate(differences):
        detectable = get_finite(difference.detectable)
        if detectable is not None:
            axes.barh(row, 2 * detectable, left=-detectable, height=0.66, color=PALE, zorder=0)
        mark(axes, row, difference)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#EEEEEE", linewidth=0.6)


def mark(axes: Axes, row: float, difference: Difference) -> None:
    """Draw a difference and its interval with the look of its verdict.

    Args:
        axes: Panel to draw on.
        row: Height of the mark.
        difference: The difference; without a pair, a remark is drawn.
    """
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
    """Add means and intervals as text to the right of the rows."""
    texts = []
    for difference in differences:
        ends = get_mean_and_interval(difference)
        if ends is None:
            texts.append("–")
            continue
        mean, low, high = (format_signed_label(end, digits) for end in ends)
        texts.append(mean if ends[1] == ends[2] else f"{mean} [{low}, {high}]")
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(texts)), texts)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)


def _add_legend(figure: Figure, differences: Sequence[Difference], note: str) -> None:
    handles, labels = build_verdict_handles(difference.verdict for difference in differences)
    if any(get_finite(difference.detectable) is not None for difference in differences):
        handles.append(Patch(color=PALE))
        labels.append("too small to be detected (power 0.8)")
    add_legend_below(figure, handles, labels, note)


@apply_style
def draw_paired_runs(
    values: Mapping[str, Mapping[int, float | None]], reference: str, label: str
) -> Figure:
    """Draw the results of all seeds, joined across arms.

    A thin line joins the values of a seed, with a gap where an arm has none. A thick mark is the
    mean of an arm over all of its seeds, a dotted line the mean of the reference.

    Args:
        values: Arm -> seed -> value.
        reference: Name of the reference.
        label: Name of the metric with its unit.

    Returns:
        The figure; a sentence if no value is known.
    """
    arms = list(values)
    grid = _build_grid(values)
    if not np.isfinite(grid).any():
        return draw_placeholder(f"No arm has a value to show: {label}.")
    figure, (axes,) = create_panels(1, max(3.2, min(WIDTH, 1.1 + 0.75 * len(arms))), 2.8)
    positions = np.arange(len(arms))
    for line in grid:
        axes.plot(
            positions, line, color=COLOURS[0], linewidth=0.8, alpha=0.5, marker=".", markersize=5
        )
    means = [_compute_finite_mean(column) for column in grid.T]
    axes.hlines(means, positions - 0.28, positions + 0.28, color=DARK, linewidth=2.6, zorder=3)
    handles: list[Artist] = [
        Line2D([], [], color=COLOURS[0], linewidth=0.8, alpha=0.5, marker=".", markersize=5),
        Line2D([], [], color=DARK, linewidth=2.6),
    ]
    texts = ["a seed", "mean of the seeds"]
    if reference in values and np.isfinite(means[arms.index(reference)]):
        mean = means[arms.index(reference)]
        handles.append(axes.axhline(mean, color=COLOURS[1], linestyle=":", linewidth=1.2))
        texts.append("mean of the reference")
    for position in np.flatnonzero(~np.isfinite(means)):
        axes.annotate(
            "no value",
            (position, 0.02),
            xycoords=("data", "axes fraction"),
            rotation=90,
            **_MISSING_VALUE_STYLE,
        )
    labels = [f"{arm} (reference)" if arm == reference else arm for arm in arms]
    slanted = len(arms) > 6
    names = shorten_names(labels, 26, 1) if slanted else shorten_names(labels, 14, 2)
    name_ticks(axes, positions.tolist(), names, slanted)
    axes.set_xlim(-0.5, len(arms) - 0.5)
    axes.set_ylabel(shorten(label, 44))
    add_legend_below(figure, handles, texts)
    return figure


def _build_grid(values: Mapping[str, Mapping[int, float | None]]) -> np.ndarray:
    """Return the values with shape (seeds, arms); NaN where a value is missing."""
    seeds = dict.fromkeys(seed for column in values.values() for seed in column)
    grid = np.full((len(seeds), len(values)), np.nan)
    for row, seed in enumerate(seeds):
        for position, column in enumerate(values.values()):
            value = get_finite(column.get(seed))
            if value is not None:
                grid[row, position] = value
    return grid


def _compute_finite_mean(column: np.ndarray) -> float:
    finite = column[np.isfinite(column)]
    return float(finite.mean()) if finite.size else np.nan
