"""Contribution of each component by Shapley values, and interactions of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ibml.report.figures.differences import mark
from ibml.report.figures.labels import format_signed_label, shorten, shorten_names
from ibml.report.figures.style import (
    DARK,
    PALE,
    WIDTH,
    add_legend_below,
    apply_style,
    build_verdict_handles,
    draw_placeholder,
    estimate_width,
    get_finite,
    get_mean_and_interval,
    name_ticks,
)
from ibml.statistics.paired import Difference


@apply_style
def draw_attribution(
    contributions: Sequence[tuple[str, Difference]],
    total: float | None,
    label: str,
    interactions: Mapping[tuple[str, str], Difference] | None = None,
    digits: int = 2,
) -> Figure:
    """Draw the contributions of components as bars, and the interactions of pairs as a map.

    Args:
        contributions: Pairs of component and Shapley value with its interval.
        total: Sum of all contributions, drawn as the last bar; None to leave it out.
        label: Name of the metric with its unit.
        interactions: Pair of components -> interaction; bold if its interval excludes 0.
        digits: Decimals of the numbers.

    Returns:
        The figure; a sentence if no contribution is known.
    """
    known = [(name, d) for name, d in contributions if get_mean_and_interval(d)]
    if not known:
        return draw_placeholder(f"No part has a contribution to show: {label}.")
    parts = [name for name, _ in known]
    names = shorten_names(parts, 24)
    pairs = {}
    for pair, difference in (interactions or {}).items():
        if set(pair) <= set(parts) and get_mean_and_interval(difference):
            pairs[pair] = difference
    height = max(2.4 if pairs else 1.6, 1.0 + 0.3 * (len(names) + 1))
    width = WIDTH - 1
    if pairs:
        width = 3.6 + 2 * estimate_width(names) + 0.4 * len(parts)
    figure = Figure(figsize=(width, height), layout="constrained")
    if pairs:
        ratios = (2.6, 0.6 + 0.4 * len(parts))
        axes, second = figure.subplots(1, 2, width_ratios=ratios)
        _draw_interaction_map(second, parts, names, pairs, digits)
    else:
        axes = figure.subplots()
    finite_total = get_finite(total)
    _draw_bars(axes, known, names, finite_total, digits)
    axes.set_xlabel(shorten(f"contribution to {label}", 44))
    handles, texts = build_verdict_handles(difference.verdict for _, difference in known)
    if finite_total is not None:
        handles.append(Patch(facecolor="white", edgecolor=DARK, hatch="////", linewidth=0.7))
        texts.append("all parts together")
    add_legend_below(figure, handles, texts)
    return figure


def _draw_bars(
    axes: Axes,
    known: Sequence[tuple[str, Difference]],
    names: Sequence[str],
    total: float | None,
    digits: int,
) -> None:
    means = [get_mean_and_interval(d)[0] for _, d in known]  # type: ignore[index]
    axes.barh(range(len(known)), means, height=0.62, color=PALE, edgecolor=DARK, linewidth=0.5)
    for row, (_, difference) in enumerate(known):
        mark(axes, row, difference)
    labels = [*names]
    if total is not None:
        axes.barh(
            [len(known)],
            [total],
            height=0.62,
            color="white",
            edgecolor=DARK,
            hatch="////",
            linewidth=0.7,
        )
        axes.axhline(len(known) - 0.5, color=DARK, linewidth=0.5)
        labels.append(f"all: {format_signed_label(total, digits)}")
    axes.axvline(0, color=DARK, linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _draw_interaction_map(
    axes: Axes,
    parts: Sequence[str],
    names: Sequence[str],
    pairs: Mapping[tuple[str, str], Difference],
    digits: int,
) -> None:
    """Draw the lower triangle of the pairs, with a color scale that is symmetric about zero."""
    grid = np.full((len(parts), len(parts)), np.nan)
    for (first, second), difference in pairs.items():
        row, column = sorted((parts.index(first), parts.index(second)), reverse=True)
        mean, low, high = get_mean_and_interval(difference)  # type: ignore[misc]
        grid[row, column] = mean
        excludes_zero = high > low and (low > 0 or high < 0)
        axes.text(
            column,
            row,
            format_signed_label(mean, digits),
            ha="center",
            va="center",
            fontsize=6.5,
            weight="bold" if excludes_zero else "normal",
        )
    largest = float(np.nanmax(np.abs(grid))) or 1.0
    axes.imshow(
        np.ma.masked_invalid(grid),
        cmap="PuOr_r",
        vmin=-1.8 * largest,
        vmax=1.8 * largest,
        aspect="auto",
    )
    name_ticks(axes, range(len(parts) - 1), shorten_names(parts[:-1], 20, 1), slanted=True)
    axes.set_yticks(range(1, len(parts)), names[1:])
    axes.set_xlim(-0.5, len(parts) - 1.5)
    axes.set_ylim(len(parts) - 0.5, 0.5)
    axes.set_title("interaction of two parts (bold: interval without 0)", fontsize=7.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
