"""Arms over many data sets: critical-difference diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ibml.common.formatting import format_count
from ibml.report.figures.labels import shorten, shorten_names
from ibml.report.figures.style import (
    DARK,
    GREY,
    WIDTH,
    apply_style,
    create_panels,
    draw_placeholder,
    estimate_width,
    get_finite,
)
from ibml.statistics.datasets import LEAST_DATASETS


@apply_style
def draw_critical_difference(
    ranks: Mapping[str, float | None], groups: Sequence[Sequence[str]], datasets: int, label: str
) -> Figure:
    """Draw average ranks of arms over data sets (Demsar, JMLR 7, 2006, figure 1).

    Bars join arms whose ranks do not differ significantly, with a dot at each of them. With fewer
    than `LEAST_DATASETS` data sets there is a sentence instead of the bars.

    Args:
        ranks: Arm -> average rank, 1 is best; None for an arm without rank.
        groups: Groups of arms that do not differ significantly.
        datasets: Number of data sets.
        label: Name of the metric with its unit.

    Returns:
        The figure; a sentence if fewer than two arms have a rank.
    """
    known = {}
    for arm, given in ranks.items():
        rank = get_finite(given)
        if rank is not None:
            known[arm] = rank
    if len(known) < 2:
        return draw_placeholder(f"Fewer than two arms have a rank to compare: {label}.")
    note, color, drawn_groups = "bars join arms that are not significantly different", DARK, groups
    if datasets < LEAST_DATASETS:
        note = (
            f"{datasets} data sets are too few for a test of ranks (at least {LEAST_DATASETS}):"
            " no bars"
        )
        color, drawn_groups = GREY, ()
    names = dict(zip(known, shorten_names(known, 30, 1), strict=True))
    rows = (len(known) + 1) // 2 + min(len(drawn_groups), 4)
    width = max(WIDTH, 2.6 + 2 * estimate_width(list(names.values())))
    figure, (axes,) = create_panels(1, width, 0.9 + 0.24 * rows)
    _draw_diagram(axes, known, names, drawn_groups)
    title = f"{label}: average rank over {format_count(datasets, 'data set')}, 1 is best"
    figure.suptitle(shorten(title, 90), fontsize=8.5)
    figure.supxlabel(note, fontsize=7.5, color=color)
    return figure


def _draw_diagram(
    axes: Axes,
    ranks: Mapping[str, float],
    names: Mapping[str, str],
    groups: Sequence[Sequence[str]],
) -> None:
    # Imported here because it imports pyplot, which the rest of the report does not need.
    from scikit_posthocs import critical_difference_diagram

    # Arms go by number: the diagram iterates over sets, whose order would vary for texts.
    arms = list(names)
    same = pd.DataFrame(0.0, index=range(len(arms)), columns=range(len(arms)))
    for number in range(len(arms)):
        same.loc[number, number] = 1.0
    for group in groups:
        members = [arms.index(arm) for arm in group if arm in names]
        for a, b in combinations(members, 2):
            same.loc[a, b] = same.loc[b, a] = 1.0
    drawn = critical_difference_diagram(
        {arms.index(arm): rank for arm, rank in ranks.items()},
        same,
        ax=axes,
        label_fmt_left="left {label}",
        label_fmt_right="right {label}",
        label_props={"fontsize": 7.5},
        marker_props={"color": DARK, "s": 14},
        elbow_props={"color": DARK, "linewidth": 0.6},
        crossbar_props={
            "color": DARK,
            "linewidth": 2.4,
            "marker": "o",
            "markersize": 3.5,
            "solid_capstyle": "round",
        },
        text_h_margin=0.04,
    )
    for text in drawn["labels"]:
        side, number = text.get_text().split()
        arm = arms[int(number)]
        rank = f"({ranks[arm]:.2f})"
        text.set_text(f"{names[arm]} {rank}" if side == "left" else f"{rank} {names[arm]}")
    axes.spines["top"].set_visible(True)
    axes.set_ylim(top=0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    low, high = min(ranks.values()), max(ranks.values())
    axes.set_xlim(min(1.0, low), max(float(len(ranks)), high))
