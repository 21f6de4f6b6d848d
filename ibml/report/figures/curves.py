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

from ibml.report.figures.labels import shorten, shorten_names
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
)

Rows = Sequence[Sequence[float | None]]
"""A row of values for each seed, one value for each epoch."""
_MARKED = 8
"""Approximate number of epochs with a marker on each line."""


@dataclass(frozen=True)
class Band:
    """Statistics over the seeds that reached an epoch, shape (epochs,) each.

    Attributes:
        counts: Number of seeds.
        mean: Mean.
        sd: Standard deviation with n - 1 degrees of freedom; NaN for a single seed.
    """

    counts: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    sd: npt.NDArray[np.float64]


def compute_band(rows: Rows) -> Band:
    """Compute count, mean and standard deviation at each epoch; rows may differ in length."""
    values = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for line, row in zip(values, rows, strict=True):
        for epoch, value in enumerate(row):
            number = get_finite(value)
            if number is not None:
                line[epoch] = number
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=0) / counts
        squares = np.where(known, values - mean, 0.0) ** 2
        sd = np.where(counts > 1, np.sqrt(squares.sum(axis=0) / (counts - 1)), np.nan)
    return Band(counts, mean, sd)


@apply_style
def draw_curves(
    series: Mapping[str, Mapping[str, Rows]],
    label: str,
    titles: Mapping[str, str] | None = None,
    level: float | None = None,
) -> Figure:
    """Draw learning curves, a panel for each series.

    Line: mean over seeds, pale where some seeds have no value. Band: mean ± standard deviation.
    Epochs count from 1, and all panels share the y axis.

    Args:
        series: Series (`val.accuracy`, `val.accuracy.zer`, ...) -> arm -> a row for each seed.
        label: Label of the y axis.
        titles: Series -> title of its panel; by default the name of the series.
        level: Value marked by a dotted line, for example 1 for the training rates of modalities.

    Returns:
        The figure; a sentence if no value is known.
    """
    bands = _compute_bands(series)
    if not bands:
        return draw_placeholder(f"No run has logged a value to show: {label}.")
    looks = assign_looks(arm for arms in series.values() for arm in arms)
    columns = 2 if len(bands) in (2, 4) else min(3, len(bands))
    width = WIDTH / columns if columns > 1 else 4.6
    height = 2.5 if len(bands) < 4 else 2.0
    figure, panels = create_panels(len(bands), width, height, columns, sharex=True, sharey=True)
    some_end_early = False
    for axes, (name, arms) in zip(panels, bands.items(), strict=True):
        for arm, band in arms.items():
            offset = list(looks).index(arm) / len(looks)
            some_end_early |= _draw_line(axes, band, looks[arm], offset, len(arms))
        if level is not None:
            axes.axhline(level, color=GREY, linestyle=":", linewidth=1, zorder=1)
        axes.set_title(shorten((titles or {}).get(name, name), 36))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
        axes.grid(color="#EEEEEE", linewidth=0.6)
    drawn = [band for arms in bands.values() for band in arms.values()]
    longest = max(len(band.mean) for band in drawn)
    margin = 0.02 * longest
    panels[0].set_xlim(max(0.5, 1 - margin), longest + max(0.5, margin))
    for axes in panels[-columns:]:
        axes.set_xlabel("epoch")
    label_rows(panels, label)
    present = [arm for arm in looks if any(arm in arms for arms in bands.values())]
    handles = [Line2D([], [], **looks[arm].get_line_options()) for arm in present]
    several = any(band.counts.max() > 1 for band in drawn)
    note = _format_note(several, some_end_early)
    add_legend_below(figure, handles, shorten_names(present, 40, 1), note)
    return figure


def _compute_bands(series: Mapping[str, Mapping[str, Rows]]) -> dict[str, dict[str, Band]]:
    """Return the bands by series and arm, without those that have no value."""
    bands: dict[str, dict[str, Band]] = {}
    for name, arms in series.items():
        for arm, rows in arms.items():
            band = compute_band(rows)
            if band.counts.any():
                bands.setdefault(name, {})[arm] = band
    return bands


def _format_note(several: bool, some_end_early: bool) -> str:
    notes = []
    if several:
        notes.append("band: mean ± standard deviation over seeds")
    if some_end_early:
        notes.append("pale line: only some seeds have a value")
    return "; ".join(notes)


def _draw_line(axes: Axes, band: Band, look: Look, offset: float, arms: int) -> bool:
    """Draw the line and band of an arm.

    Args:
        axes: Panel to draw on.
        band: Statistics at each epoch.
        look: Look of the arm.
        offset: Shift of the markers, as a fraction of the distance between two of them.
        arms: Number of arms in the panel; more arms have paler bands.

    Returns:
        True if some seeds have fewer values than others.
    """
    epochs = np.arange(1, len(band.mean) + 1)
    opacity = 0.05
    if arms <= 4:
        opacity = 0.2
    elif arms <= 8:
        opacity = 0.1
    axes.fill_between(
        epochs,
        band.mean - band.sd,
        band.mean + band.sd,
        color=look.colour,
        alpha=opacity,
        linewidth=0,
    )
    spacing = max(1, len(epochs) // _MARKED)
    full = np.where(band.counts == band.counts.max(), band.mean, np.nan)
    some_end_early = bool((band.counts < band.counts.max()).any())
    if some_end_early:
        axes.plot(epochs, band.mean, color=look.colour, linestyle=look.line, alpha=0.4)
    marked = (int(offset * spacing), spacing)
    axes.plot(epochs, full, **look.get_line_options(markevery=marked, markersize=4))
    return some_end_early
