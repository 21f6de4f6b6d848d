"""Style of all figures: colors, looks of arms and verdicts, labels, layout and file output."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, ParamSpec

import numpy as np
from matplotlib import style as matplotlib_style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.cells import cell_len

from ibml.common.processes.interruption import raise_if_stop_requested
from ibml.report.figures.fonts import BASE, choose_families, collect_borrowed
from ibml.report.figures.labels import shorten
from ibml.statistics.paired import Difference, Verdict

P = ParamSpec("P")
FigureForm = Literal["png", "pdf", "svg"]

# Colors of Okabe and Ito, which people with any color vision can distinguish. Their yellow is left
# out, since it is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DARK, GREY, PALE = "#333333", "#777777", "#E4E4E4"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8")
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)))

_RC = {
    "font.family": BASE,
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "text.parse_math": False,  # names of arms may contain `$`
    "pdf.fonttype": 42,
    "svg.hashsalt": "ibml",
    "savefig.dpi": 160,
}
WIDTH = 6.6
"""Width of a one-column page's text in inches."""
_CHARACTER_WIDTH, _LINE_HEIGHT = 0.066, 0.17
"""Width of a character and height of a line of a small label, in inches."""


@dataclass(frozen=True)
class Look:
    """Look of an arm or a verdict, which differs from others in more than its color.

    Attributes:
        colour: Color of line and marker.
        marker: Marker as matplotlib names it.
        line: Line style as matplotlib names it.
        hollow: True for a white marker with a colored edge.
    """

    colour: str
    marker: str
    line: Any = "-"
    hollow: bool = False

    def get_line_options(self, **overrides: Any) -> dict[str, Any]:
        """Return the keyword arguments of a `Line2D` with this look.

        Args:
            **overrides: Further arguments, which take precedence.

        Returns:
            Keyword arguments for `Line2D` or `Axes.plot`.
        """
        options = {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.line,
            "markerfacecolor": "white" if self.hollow else self.colour,
            "markeredgecolor": self.colour,
        }
        return {**options, **overrides}


VERDICTS: dict[Verdict, Look] = {
    "helps": Look("#0072B2", "^"),
    "hurts": Look("#D55E00", "v"),
    "no effect detected": Look(GREY, "o"),
    "one seed: no claim": Look(GREY, "o", hollow=True),
    "no spread: no claim": Look(GREY, "D", hollow=True),
    "undecided so far": Look(GREY, "s", hollow=True),
    "effect detected": Look("#000000", "s"),
    "too few data sets": Look(GREY, "P", hollow=True),
    "no pairs": Look(GREY, "x"),
}


def assign_looks(names: Iterable[str]) -> dict[str, Look]:
    """Assign a look to each name by position.

    Args:
        names: Names of arms; repeated names count once.

    Returns:
        Name -> look. Up to 14 names differ in the marker, up to 28 in color or line.
    """
    looks = {}
    for i, name in enumerate(dict.fromkeys(names)):
        looks[name] = Look(
            COLOURS[i % len(COLOURS)], _MARKERS[i % len(_MARKERS)], _LINES[i % len(_LINES)]
        )
    return looks


@contextmanager
def _apply_settings(**further: Any) -> Iterator[None]:
    """Apply the settings of figures, independent of the user's matplotlibrc."""
    with matplotlib_style.context(["default", {**_RC, **further}]):
        yield


def apply_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function that draws a figure, so that it uses the style of all figures.

    The function may run twice: the first run shows which fonts the labels need. The layout of the
    panels is final when the decorated function returns.

    Args:
        draw: Function that draws a figure.

    Returns:
        The decorated function.
    """

    @wraps(draw)
    def wrapper(*arguments: P.args, **options: P.kwargs) -> Figure:
        with _apply_settings(), collect_borrowed() as borrowed:
            figure = draw(*arguments, **options)
        fonts = {"font.family": choose_families(borrowed)} if borrowed else {}
        with _apply_settings(**fonts):
            if borrowed:
                figure = draw(*arguments, **options)
            # Each drawing moves the panels a little; with fewer drawings they do not fit.
            for _ in range(3):
                figure.draw_without_rendering()
            figure.set_layout_engine("none")
            return figure

    return wrapper


def render_figure(figure: Figure, form: FigureForm) -> bytes:
    """Render a figure as a file; the same figure gives the same bytes.

    Args:
        figure: The figure.
        form: File format.

    Returns:
        Content of the file.
    """
    raise_if_stop_requested()  # A report of many arms has many figures.
    metadata: dict[FigureForm, dict[str, Any]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "svg": {"Date": None, "Creator": None},
    }
    stream = io.BytesIO()
    with _apply_settings():
        figure.savefig(
            stream, format=form, metadata=metadata[form], bbox_inches="tight", pad_inches=0.04
        )
    return stream.getvalue()


@apply_style
def draw_placeholder(text: str) -> Figure:
    """Draw a sentence in place of a figure that has no data."""
    figure = Figure(figsize=(WIDTH, 0.9))
    figure.text(0.5, 0.5, shorten(text, 90, 3), ha="center", va="center", color=DARK)
    return figure


def get_finite(value: float | None) -> float | None:
    """Return a number as float; None if it is missing or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def get_mean_and_interval(difference: Difference) -> tuple[float, float, float] | None:
    """Return mean, lower end and upper end of a difference.

    Without an interval both ends are the mean. None if there is no mean.
    """
    mean = get_finite(difference.mean)
    if mean is None:
        return None
    low, high = get_finite(difference.low), get_finite(difference.high)
    if low is None or high is None:
        return mean, mean, mean
    return mean, low, high


def create_panels(
    count: int, width: float, height: float, columns: int = 4, names: float = 0.0, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Create a figure with panels, row by row.

    Args:
        count: Number of panels.
        width: Width of a panel in inches.
        height: Height of a panel in inches.
        columns: Maximum number of panels in a row.
        names: Width of the labels at the left in inches.
        **shared: `sharex` and `sharey` of `Figure.subplots`.

    Returns:
        The figure and its panels.
    """
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    size = (max(3.2, names + width * columns), height * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    panels: list[Axes] = list(np.ravel(grid))
    for unused in panels[count:]:
        unused.set_axis_off()
    if columns > 1:
        # A panel above an unused one is the lowest of its column, so it needs tick labels.
        for lowest in panels[max(0, count - columns) : count]:
            lowest.xaxis.set_tick_params(labelbottom=True)
    return figure, panels[:count]


def estimate_width(labels: Sequence[str]) -> float:
    """Return the width of the widest line of the labels in inches."""
    lines = "\n".join(labels).split("\n")
    return _CHARACTER_WIDTH * max(map(cell_len, lines))


def label_rows(panels: Sequence[Axes], label: str) -> None:
    """Set the label of the y axis at the first panel of each row."""
    for axes in panels:
        position = axes.get_subplotspec()
        if position is not None and position.is_first_col():
            axes.set_ylabel(shorten(label, 32))


def name_ticks(axes: Axes, positions: Sequence[float], names: Sequence[str], slanted: bool) -> None:
    """Set names as tick labels of the x axis.

    Args:
        axes: Panel to label.
        positions: Positions of the ticks.
        names: Labels of the ticks.
        slanted: Rotate the labels; the figure grows by their height.
    """
    if not slanted:
        axes.set_xticks(positions, names)
        return
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.set_figheight(figure.get_figheight() + 0.64 * estimate_width(names))
    axes.set_xticks(positions, names, rotation=40, ha="right", rotation_mode="anchor")


def add_legend_below(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[str], note: str = ""
) -> None:
    """Add one legend for all panels, in as many columns as fit; the figure grows by its height.

    Args:
        figure: The figure.
        handles: Artists of the legend; without any, nothing is added.
        labels: Labels of the artists.
        note: Text above the legend.
    """
    if not handles:
        return
    column_width = estimate_width(labels) + 0.55
    columns = max(1, min(len(handles), int(figure.get_figwidth() / column_width)))
    lines = math.ceil(len(handles) / columns)
    if note:
        lines += note.count("\n") + 1
    figure.set_figheight(figure.get_figheight() + _LINE_HEIGHT * lines)
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        title=note or None,
        title_fontsize=8,
        handlelength=2.4,
        columnspacing=1.4,
        borderpad=0.8,
    )


def build_verdict_handles(found: Iterable[Verdict]) -> tuple[list[Artist], list[str]]:
    """Return legend handles and labels of the verdicts that occur, in the order of `VERDICTS`."""
    present = set(found) - {"no pairs"}
    handles: list[Artist] = []
    labels: list[str] = []
    for verdict, look in VERDICTS.items():
        if verdict in present:
            handles.append(Line2D([], [], **look.get_line_options(linewidth=1)))
            labels.append(verdict)
    return handles, labels
