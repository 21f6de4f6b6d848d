"""Learning curves: means over seeds against epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ibml.report.figures.style import (
    GREY,
    WIDTH,
    Look,
    add_legend_below,
    apply_style,
    assign_looks,
    create_panels,
    draw_placeholder,
    get_finite,
    label_rows,
    shorten,
    shorten_names,
)

Rows = Sequence[Sequence[float | None]]
_MARKED = 8
"""About how many epochs of a line have a marker."""


@dataclass(frozen=True)
class Band:
    """Over the seeds that reached an epoch, shape (epochs,) each: how many, mean, and standard deviation with n - 1
    (no number for one seed)."""

    counts: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    sd: npt.NDArray[np.float64]


def compute_band(rows: Rows) -> Band:
    """Count, mean and spread at each epoch; rows end where their runs did."""
    table = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for row, line in zip(rows, table, strict=True):
        line[: len(row)] = [np.nan if (number := get_finite(v)) is None else number for v in row]
    known = np.isfinite(table)
    counts = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, table, 0.0).sum(axis=0) / counts
        squares = np.where(known, table - mean, 0.0) ** 2
        sd = np.where(counts > 1, np.sqrt(squares.sum(axis=0) / (counts - 1)), np.nan)
    return Band(counts, mean, sd)


@apply_style
def curves(
    series: Mapping[str, Mapping[str, Rows]],
    label: str,
    titles: Mapping[str, str] | None = None,
    level: float | None = None,
) -> Figure:
    """Series (`val.accuracy`, `val.accuracy.zer`, ...) -> arm -> a row of values for each seed, one for each epoch.

    A panel for each series with its title, all on one y axis, named by `label`; epochs count from 1. Line: mean;
    band: mean ± standard deviation over seeds; the line is pale where some seeds have no value any more. `level`
    is marked by a dotted line: 1 for the rates that a schedule gives to modalities.
    """
    bands = {
        name: {arm: compute_band(rows) for arm, rows in arms.items()}
        for name, arms in series.items()
    }
    shown = {
        name: {arm: b for arm, b in arms.items() if b.counts.any()} for name, arms in bands.items()
    }
    shown = {name: arms for name, arms in shown.items() if arms}
    if not shown:
        return draw_placeholder(f"No run has logged a value to show: {label}.")
    style = assign_looks(arm for arms in series.values() for arm in arms)
    present = [arm for arm in style if any(arm in arms for arms in shown.values())]
    columns = 2 if len(shown) in (2, 4) else min(3, len(shown))
    figure, places = create_panels(
        len(shown),
        WIDTH / columns if columns > 1 else 4.6,
        2.5 if len(shown) < 4 else 2.0,
        columns,
        sharex=True,
        sharey=True,
    )
    ended = False
    for axes, (name, arms) in zip(places, shown.items(), strict=True):
        for arm, found in arms.items():
            ended |= _draw_line(
                axes, found, style[arm], list(style).index(arm) / len(style), len(arms)
            )
        if level is not None:
            axes.axhline(level, color=GREY, linestyle=":", linewidth=1, zorder=1)
        axes.set_title(shorten((titles or {}).get(name, name), 36))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
        axes.grid(color="#EEEEEE", linewidth=0.6)
    longest = max(len(b.mean) for arms in shown.values() for b in arms.values())
    places[0].set_xlim(max(0.5, 1 - 0.02 * longest), longest + max(0.5, 0.02 * longest))
    for axes in places[-columns:]:
        axes.set_xlabel("epoch")
    several = any(b.counts.max() > 1 for arms in shown.values() for b in arms.values())
    label_rows(places, label)
    handles = [Line2D([], [], **style[arm].get_line_options()) for arm in present]
    add_legend_below(figure, handles, shorten_names(present, 40, 1), _format_note(several, ended))
    return figure


def _format_note(several: bool, ended: bool) -> str:
    notes = ["band: mean ± standard deviation over seeds"] if several else []
    notes += ["pale line: only some seeds have a value"] if ended else []
    return "; ".join(notes)


def _draw_line(axes: Axes, found: Band, look: Look, offset: float, arms: int) -> bool:
    """Draw an arm; whether some of its seeds ended before others. `offset`: share of the way between markers."""
    epochs = np.arange(1, len(found.mean) + 1)
    opacity = 0.2 if arms <= 4 else 0.1 if arms <= 8 else 0.05
    axes.fill_between(
        epochs,
        found.mean - found.sd,
        found.mean + found.sd,
        color=look.colour,
        alpha=opacity,
        linewidth=0,
    )
    every = max(1, len(epochs) // _MARKED)
    full = np.where(found.counts == found.counts.max(), found.mean, np.nan)
    ended = bool((found.counts < found.counts.max()).any())
    if ended:
        axes.plot(epochs, found.mean, color=look.colour, linestyle=look.line, alpha=0.4)
    axes.plot(
        epochs, full, **look.get_line_options(markevery=(int(offset * every), every), markersize=4)
    )
    return ended
