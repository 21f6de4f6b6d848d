"""Arms over many data sets: Demsar's critical-difference diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ibml.report.figures.style import (
    DARK,
    GREY,
    WIDTH,
    apply_style,
    create_panels,
    draw_placeholder,
    estimate_width,
    get_finite,
    shorten,
    shorten_names,
)
from ibml.statistics.datasets import LEAST_DATASETS


@apply_style
def draw_critical_difference(
    ranks: Mapping[str, float | None], groups: Sequence[Sequence[str]], datasets: int, label: str
) -> Figure:
    """Average ranks of arms over data sets, 1 is best; bars join arms that a test does not tell apart, with a dot at
    each arm that is meant. Demsar, JMLR 7, 2006, figure 1. With fewer than 6 data sets there is a sentence and no bar.
    """
    known = {arm: rank for arm, given in ranks.items() if (rank := get_finite(given)) is not None}
    if len(known) < 2:
        return draw_placeholder(f"Fewer than two arms have a rank to compare: {label}.")
    enough = datasets >= LEAST_DATASETS
    names = dict(zip(known, shorten_names(known, 30, 1), strict=True))
    rows = (len(known) + 1) // 2 + (min(len(groups), 4) if enough else 0)
    width = max(WIDTH, 2.6 + 2 * estimate_width(list(names.values())))
    figure, (axes,) = create_panels(1, width, 0.9 + 0.24 * rows)
    _draw_diagram(axes, known, names, groups if enough else ())
    note = (
        "bars join arms that are not told apart"
        if enough
        else f"{datasets} data sets are too few for a test of ranks (at least {LEAST_DATASETS}): no bars"
    )
    counted = f"{datasets} data set{'' if datasets == 1 else 's'}"
    figure.suptitle(shorten(f"{label}: average rank over {counted}, 1 is best", 90), fontsize=8.5)
    figure.supxlabel(note, fontsize=7.5, color=DARK if enough else GREY)
    return figure


def _draw_diagram(
    axes: Axes,
    ranks: Mapping[str, float],
    names: Mapping[str, str],
    groups: Sequence[Sequence[str]],
) -> None:
    # It imports pyplot; the rest of the report does without.
    from scikit_posthocs import critical_difference_diagram

    shown = list(names.values())
    same = pd.DataFrame(0.0, index=shown, columns=shown)
    for arm in shown:
        same.loc[arm, arm] = 1.0
    for group in groups:
        for a, b in combinations([names[arm] for arm in group if arm in names], 2):
            same.loc[a, b] = same.loc[b, a] = 1.0
    critical_difference_diagram(
        {names[arm]: rank for arm, rank in ranks.items()},
        same,
        ax=axes,
        label_fmt_left="{label} ({rank:.2f})",
        label_fmt_right="({rank:.2f}) {label}",
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
    axes.spines["top"].set_visible(True)
    axes.set_ylim(top=0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    low, high = min(ranks.values()), max(ranks.values())
    axes.set_xlim(min(1.0, low), max(float(len(ranks)), high))
