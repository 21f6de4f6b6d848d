"""What all figures share: colours, looks of arms and verdicts, labels, layout, and the bytes of a file."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
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
from ibml.report.figures.fonts import BASE, choose_families, collect_borrowed, is_drawable
from ibml.statistics.paired import Difference, Verdict

P = ParamSpec("P")
FigureForm = Literal["png", "pdf", "svg"]

# Okabe & Ito's colours, told apart with any colour vision; their yellow is too pale for lines on white.
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
    "text.parse_math": False,  # a `$` in the name of an arm is a `$`
    "pdf.fonttype": 42,
    "svg.hashsalt": "ibml",
    "savefig.dpi": 160,
}
WIDTH = 6.6
"""Inches: the text of a page of one column."""
_CHARACTER_WIDTH, _LINE_HEIGHT = 0.066, 0.17
"""Inches that a character and a line of a small label take."""


@dataclass(frozen=True)
class Look:
    """How an arm or a verdict is drawn: each differs from the others in more than its colour."""

    colour: str
    marker: str
    line: Any = "-"
    hollow: bool = False

    def get_line_options(self, **rest: Any) -> dict[str, Any]:
        """The look as keywords of a line with markers."""
        face = "white" if self.hollow else self.colour
        given = {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.line,
            "markerfacecolor": face,
        }
        return {**given, "markeredgecolor": self.colour, **rest}


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
    """Name -> look, by position: all of 14 names differ in the marker, all of 28 in colour or line."""
    unique = dict.fromkeys(names)
    return {
        name: Look(COLOURS[i % len(COLOURS)], _MARKERS[i % len(_MARKERS)], _LINES[i % len(_LINES)])
        for i, name in enumerate(unique)
    }


@contextmanager
def _apply_settings(**further: Any) -> Iterator[None]:
    """The figures' own settings and no others, whatever file of settings the user has."""
    with matplotlib_style.context(["default", {**_RC, **further}]):
        yield


def apply_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """The function, drawing with the figures' settings and with the layout of its panels settled."""

    @wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> Figure:
        with _apply_settings(), collect_borrowed() as borrowed:
            figure = draw(*arguments, **options)
        fonts = {"font.family": choose_families(borrowed)} if borrowed else {}
        with _apply_settings(**fonts):
            if borrowed:  # only now is it known which fonts the labels need
                figure = draw(*arguments, **options)
            # Each drawing would move the panels a little; fewer are not enough for them to fit.
            for _ in range(3):
                figure.draw_without_rendering()
            figure.set_layout_engine("none")
            return figure

    return drawn


def render_figure(figure: Figure, form: FigureForm) -> bytes:
    """The figure as a file; the same figure gives the same bytes."""
    raise_if_stop_requested()  # a study of many arms has many figures
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
    """What stands for a figure that cannot be drawn."""
    figure = Figure(figsize=(WIDTH, 0.9))
    figure.text(0.5, 0.5, shorten(text, 90, 3), ha="center", va="center", color=DARK)
    return figure


def shorten(text: str, width: int = 28, lines: int = 2) -> str:
    """Any text as a label of at most `lines` lines of `width` characters; a longer one loses its middle, since the
    names of arms differ at their ends. A character that no font has is shown as a replacement character."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    plain = " ".join(
        "".join(c if is_drawable(c) else "\N{REPLACEMENT CHARACTER}" for c in plain).split()
    )
    plain = plain or "(no name)"
    width = max(
        1, width * len(plain) // cell_len(plain)
    )  # a Chinese character is as wide as two letters
    pieces = _wrap_text(plain, width)
    if len(pieces) <= lines:
        return "\n".join(pieces)
    room = width * lines - 1
    cut = f"{plain[: room - room // 2]}…{plain[len(plain) - room // 2 :]}"
    return "\n".join(cut[start : start + width] for start in range(0, len(cut), width))


def _wrap_text(text: str, width: int) -> list[str]:
    """Lines that end at a space or inside a dotted path, but never inside a number if they can help it."""
    lines = [""]
    for piece in re.split(r"(?<=[ _=,/])|(?<=\.)(?=\D)", text):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]


def shorten_names(texts: Iterable[str], width: int = 28, lines: int = 2) -> list[str]:
    """Labels of different texts, which differ after they are shortened too: long ones that would not lose what they
    have in common at their start instead, and if that is not enough get a number."""
    given = list(texts)
    first = [shorten(text, width, lines) for text in given]
    alike = [text for text, label in zip(given, first, strict=True) if first.count(label) > 1]
    differ = (i for i, letters in enumerate(zip(*alike, strict=False)) if len(set(letters)) > 1)
    common = max(0, next(differ, 0) - 8)
    seen: Counter[str] = Counter()
    labels = []
    for text, whole_label in zip(given, first, strict=True):
        label = (
            shorten("…" + text[common:].lstrip(" ._=,/"), width, lines)
            if common and text in alike
            else whole_label
        )
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label} #{seen[label]}")
    return labels


def get_finite(value: float | None) -> float | None:
    """The number, if it is one."""
    return None if value is None or not math.isfinite(value) else float(value)


def get_mean_and_interval(difference: Difference) -> tuple[float, float, float] | None:
    """Mean, low and high end; without an interval both ends are the mean; None if there is nothing to draw."""
    mean = get_finite(difference.mean)
    if mean is None:
        return None
    low, high = get_finite(difference.low), get_finite(difference.high)
    return (mean, mean, mean) if low is None or high is None else (mean, low, high)


def format_signed_label(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def format_numeral(value: float) -> str:
    return re.sub(r"e([+-])0+", r"e\1", f"{value:.6g}").replace("-", "−").replace("e+", "e")


def create_panels(
    count: int, width: float, height: float, columns: int = 4, names: float = 0.0, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, row by row, of a size in inches each; `names`: what labels at the left need."""
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    figure = Figure(
        figsize=(max(3.2, names + width * columns), height * rows), layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    places: list[Axes] = list(np.ravel(grid))
    for spare in places[count:]:
        spare.set_axis_off()
    if columns > 1:  # those above a spare place are the lowest of their column
        for lowest in places[max(0, count - columns) : count]:
            lowest.xaxis.set_tick_params(labelbottom=True)
    return figure, places[:count]


def estimate_width(labels: Sequence[str]) -> float:
    """Width of the widest line of the labels."""
    return _CHARACTER_WIDTH * max(
        (cell_len(line) for label in labels for line in label.split("\n")), default=0
    )


def label_rows(places: Sequence[Axes], label: str) -> None:
    """The y axis' name at the first panel of each row."""
    for axes in places:
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(shorten(label, 32))


def name_ticks(axes: Axes, positions: Sequence[float], names: Sequence[str], slanted: bool) -> None:
    """Names under the x axis; the figure grows by the height of slanted ones."""
    if slanted:
        figure = axes.get_figure(root=True)
        if figure is not None:
            figure.set_figheight(figure.get_figheight() + 0.64 * estimate_width(names))
        axes.set_xticks(positions, names, rotation=40, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(positions, names)


def add_legend_below(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[str], note: str = ""
) -> None:
    """One legend for all panels, in as many columns as fit, under a note; the figure grows by its height."""
    if not handles:
        return
    columns = max(
        1, min(len(handles), int(figure.get_figwidth() / (estimate_width(labels) + 0.55)))
    )
    lines = math.ceil(len(handles) / columns) + (note.count("\n") + 1 if note else 0)
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
    """Handles and labels of the verdicts that occur, in their order."""
    present = set(found) - {"no pairs"}
    shown = [v for v in VERDICTS if v in present]
    return [Line2D([], [], **VERDICTS[v].get_line_options(linewidth=1)) for v in shown], list(shown)
