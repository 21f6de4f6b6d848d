"""Figures of a study: drawn elements, bad input, and the bytes of files."""

from __future__ import annotations

import itertools
import math
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ibml.report.figures.attribution import draw_attribution
from ibml.report.figures.curves import compute_band, draw_curves
from ibml.report.figures.datasets import draw_critical_difference
from ibml.report.figures.differences import draw_forest, draw_paired_runs
from ibml.report.figures.effects import Interaction, draw_interactions, draw_value_curve
from ibml.report.figures.labels import shorten, shorten_names
from ibml.report.figures.style import VERDICTS, assign_looks, render_figure
from ibml.statistics.paired import Difference, Verdict

NAN = float("nan")
UGLY = [
    *(f"a_b$x$^2 <b>&amp; {'long ' * 9}weight={w}, method.tcm.rate=0.5" for w in (0, 1, 2)),
    *(
        "_private",
        "$\\frac{1",
        "Größe µ ± 中文",
        "x\ny\tz\x00",
        "",
        "%d {label}",
        "-1",
        "a",
        "b",
        "c",
        "Joint",
    ),
]


def difference(
    mean: float, half: float, verdict: Verdict, detectable: float | None = None
) -> Difference:
    return Difference(5, 0, mean, mean - half, mean + half, detectable=detectable, verdict=verdict)


SEED = Difference(1, 0, 2.0, verdict="one seed: no claim")
FEW = {
    "BIO": difference(4, 1.5, "helps", 2.5),
    "TCM": difference(-3, 1, "hurts"),
    "both": difference(0.5, 2, "no effect detected", 3.0),
    "one": SEED,
    "none": Difference(0, 3),
}


@pytest.fixture(autouse=True)
def _leaves_nothing_behind() -> Iterator[None]:
    """No figure warns, is kept by pyplot, or changes matplotlib's settings."""
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield
    assert dict(mpl.rcParams) == before
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


def texts(figure: Figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(mpl.text.Text)).replace("\n", " ")


def ticks(axes: Axes, axis: str) -> list[str]:
    return [t.get_text() for t in getattr(axes, f"get_{axis}ticklabels")()]


def line(axes: Axes, marker: str, position: int = 0) -> tuple[list[float], list[float]]:
    """Points of a line with a marker."""
    found = [drawn for drawn in axes.lines if drawn.get_marker() == marker][position]
    return list(map(float, found.get_xdata())), list(map(float, found.get_ydata()))


def test_a_forest_has_means_intervals_verdicts_and_what_could_not_be_detected() -> None:
    figure = draw_forest(
        {"mfeat": FEW}, "Joint", "test.accuracy %", higher_is_better=True, alpha=0.1
    )
    (axes,) = figure.axes
    assert ticks(axes, "y") == ["BIO", "TCM", "both", "one", "none"]
    assert [line(axes, m) for m in "^vo"] == [([4], [0]), ([-3], [1]), ([0.5], [2])]
    assert [line(axes, "|", i) for i in range(3)] == [
        ([2.5, 5.5], [0, 0]),
        ([-4, -2], [1, 1]),
        ([-1.5, 2.5], [2, 2]),
    ]
    hollow = [drawn for drawn in axes.lines if to_hex(drawn.get_markerfacecolor()) == "#ffffff"]
    assert [(*drawn.get_xdata(), *drawn.get_ydata()) for drawn in hollow] == [(2, 3)]
    bars = [
        (p.get_x(), p.get_width(), round(p.get_y() + p.get_height() / 2, 9)) for p in axes.patches
    ]
    assert bars == [(-2.5, 5, 0), (-3, 6, 2)]
    for said in (
        "+4.00 [+2.50, +5.50]",
        "−3.00 [−4.00, −2.00]",
        "no pairs",
        "90 % interval",
        "to the right →",
    ):
        assert said in texts(figure)
    assert [t.get_text() for t in figure.legends[0].get_texts()][:4] == [
        v for v in VERDICTS if v != "no pairs"
    ][:4]


def test_a_forest_of_data_sets_shares_its_scale_only_where_that_shows_all_of_them() -> None:
    def limits(second: float) -> list[tuple[float, float]]:
        columns = {
            "a": {"x": difference(1, 0.5, "helps")},
            "b_$": {"x": difference(second, 0.5, "helps")},
        }
        figure = draw_forest(columns, "Joint", "loss", higher_is_better=False)
        assert [axes.get_title() for axes in figure.axes] == ["a", "b_$"]
        assert "to the left ←" in texts(figure)
        return [axes.get_xlim() for axes in figure.axes]

    near, far = limits(2), limits(40)
    assert near[0] == near[1]
    assert far[0][1] < 2 < 40 < far[1][1]


def test_paired_lines_join_a_seeds_values_and_leave_gaps() -> None:
    figure = draw_paired_runs(
        {"Joint": {0: 1.0, 1: 2.0}, "a": {0: 3.0}, "b": {0: 5.0, 1: 7.0, 2: NAN}}, "Joint", "acc"
    )
    (axes,) = figure.axes
    assert line(axes, ".") == ([0, 1, 2], [1, 3, 5])
    np.testing.assert_array_equal(line(axes, ".", 1)[1], [2, NAN, 7])
    means = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
    assert means == [[1.5, 1.5], [3, 3], [6, 6]]
    assert ticks(axes, "x") == ["Joint\n(reference)", "a", "b"]


def test_a_band_is_over_the_seeds_that_reached_an_epoch() -> None:
    found = compute_band([[1.0, 2.0, 3.0], [3.0, 6.0], [NAN, None, 5.0]])
    assert found.counts.tolist() == [2, 2, 2]
    assert found.mean.tolist() == [2, 4, 4]
    np.testing.assert_allclose(found.sd, np.sqrt([2, 8, 2]))
    assert np.isnan(compute_band([[1.0]]).sd).all()


def test_curves_count_epochs_from_1_and_are_pale_where_seeds_have_stopped() -> None:
    both = {"IBML": [[1.0, 3.0, 5.0], [3.0, 5.0]], "Joint": [[9.0, 9.0, 9.0]]}
    figure = draw_curves(
        {"val.accuracy": both, "val.accuracy.zer": both},
        "acc",
        {"val.accuracy": "fused"},
        level=1.0,
    )
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["fused", "val.accuracy.zer"]
    assert first.get_shared_y_axes().joined(first, second)
    pale, full = [
        drawn for drawn in first.lines if drawn.get_color() == assign_looks(both)["IBML"].colour
    ]
    assert (list(pale.get_xdata()), list(pale.get_ydata())) == ([1, 2, 3], [2, 4, 5])
    np.testing.assert_array_equal(full.get_ydata(), [2, 4, NAN])
    assert pale.get_alpha() < 1
    edges = first.collections[0].get_paths()[0].vertices
    assert (edges[:, 1].min(), edges[:, 1].max()) == pytest.approx(
        (2 - math.sqrt(2), 4 + math.sqrt(2))
    )
    assert any(list(drawn.get_ydata()) == [1.0, 1.0] for drawn in first.lines)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["IBML", "Joint"]


def test_interactions_have_a_line_for_each_level_of_the_second_factor() -> None:
    means = {
        ("x", "0"): (1.0, 0.5, 1.5),
        ("y", "0"): (2.0, None, None),
        ("x", "1"): (3.0, 2.0, 4.0),
    }
    pair = Interaction("fusion.type", "weight_$", ("x", "y"), ("0", "1"), means)
    figure = draw_interactions([pair, pair], "acc")
    axes = figure.axes[0]
    assert len(figure.axes) == 2
    assert (ticks(axes, "x"), axes.get_xlabel()) == (["x", "y"], "fusion.type")
    assert axes.get_legend().get_title().get_text() == "weight_$"
    assert line(axes, "o")[1] == [1, 2]
    np.testing.assert_array_equal(line(axes, "s")[1], [3, NAN])
    assert [line(axes, "_", i)[1] for i in range(2)] == [[0.5, 1.5], [2, 4]]


@pytest.mark.parametrize(
    ("values", "scale", "labels"),
    [
        ((0, 0.25, 0.5, 1, 2, 4), "log", ["0", "0.25", "0.5", "1", "2", "4"]),
        ((1, 8), "log", ["1", "8"]),
        ((1e-5, 1e-3), "log", ["1e−5", "0.001"]),
        ((1, 7.9), "linear", None),
        ((-1, 1, 100), "linear", None),
        ((0, 0.5), "linear", None),
        ((0,), "linear", None),
        ((True, False), "linear", ["true", "false"]),
        (("sum", None, 2), "linear", ["sum", "null", "2"]),
        ((1.0, math.inf), "linear", ["1.0", "Infinity"]),
    ],
)
def test_values_of_a_factor_stand_on_the_axis_that_suits_them(
    values: tuple[object, ...], scale: str, labels: list[str] | None
) -> None:
    points = [(value, [1.0 + i, 3.0 + i]) for i, value in enumerate(values)]
    (axes,) = draw_value_curve("method.bio.weight", points, values[-1], "acc").axes
    assert axes.get_xscale() == scale
    if labels is not None:
        assert ticks(axes, "x") == labels
    x = line(axes, "o")[0]
    assert line(axes, "o")[1] == [2.0 + i for i in range(len(values))]
    assert x == sorted(x)
    assert ("//" in texts(axes.figure)) == (scale == "log" and 0 in values)


def test_a_value_has_its_spread_its_seeds_and_the_reference_is_marked() -> None:
    (axes,) = draw_value_curve("w", [(2, [1.0, 3.0, NAN]), (0, [5.0]), (32, [None])], 2, "acc").axes
    assert line(axes, "o") == ([0, 2], [5, 2])
    bars = axes.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(
        [bar[:, 1] for bar in bars], [[5, 5], [2 - math.sqrt(2), 2 + math.sqrt(2)]]
    )
    assert line(axes, ".", 1) == ([2, 2], [1, 3])
    assert [list(drawn.get_xdata()) for drawn in axes.lines if drawn.get_linestyle() == ":"] == [
        [2, 2]
    ]


def test_bars_join_arms_that_are_not_told_apart() -> None:
    ranks = {"a": 1.2, "b": 2.0, "c": 2.8, "d": NAN}
    (axes,) = draw_critical_difference(ranks, [["a", "b"], ["b", "c"]], 6, "acc").axes
    bars = [sorted(drawn.get_xdata()) for drawn in axes.lines if drawn.get_linewidth() > 2]
    assert bars == [[1.2, 2.0], [2.0, 2.8]]
    assert sorted(float(dot.get_offsets()[0, 0]) for dot in axes.collections) == [1.2, 2.0, 2.8]


def test_few_data_sets_have_a_sentence_instead_of_bars() -> None:
    figure = draw_critical_difference({"a": 1.2, "b": 1.8}, [["a", "b"]], 5, "acc")
    assert "5 data sets are too few" in texts(figure)
    assert not [drawn for drawn in figure.axes[0].lines if drawn.get_linewidth() > 2]


def test_an_attribution_has_parts_their_sum_and_their_interactions() -> None:
    parts = [("BIO", difference(4, 1, "helps")), ("TCM", difference(-1, 2, "no effect detected"))]
    figure = draw_attribution(parts, 3.0, "acc", {("TCM", "BIO"): difference(-0.5, 0.2, "hurts")})
    bars, pairs = figure.axes
    assert [p.get_width() for p in bars.patches] == [4, -1, 3]
    assert ticks(bars, "y") == ["BIO", "TCM", "all: +3.00"]
    assert line(bars, "|") == ([3, 5], [0, 0])
    assert [(t.get_text(), t.get_weight()) for t in pairs.texts] == [("−0.50", "bold")]
    assert len(draw_attribution(parts, None, "acc").axes) == 1


EMPTY: list[Callable[[], Figure]] = [
    lambda: draw_forest({}, "Joint", "acc", higher_is_better=True),
    lambda: draw_forest(
        {"a": {"x": Difference(0, 1), "Joint": SEED}}, "Joint", "acc", higher_is_better=True
    ),
    lambda: draw_paired_runs({"a": {0: None}, "b": {}}, "Joint", "acc"),
    lambda: draw_paired_runs({}, "Joint", "acc"),
    lambda: draw_curves({"val.loss": {"a": [[], [NAN]]}, "x": {}}, "acc"),
    lambda: draw_interactions(
        [Interaction("a", "b", ("1",), ("2",), {("1", "2"): (NAN, 0.0, 1.0)})], "acc"
    ),
    lambda: draw_value_curve("w", [(1, [None]), (2, [])], 1, "acc"),
    lambda: draw_critical_difference({"a": 1.0, "b": None}, [], 9, "acc"),
    lambda: draw_attribution([("a", Difference(0, 0))], 1.0, "acc"),
]


@pytest.mark.parametrize("draw", EMPTY)
def test_nothing_to_draw_gives_a_sentence(draw: Callable[[], Figure]) -> None:
    figure = draw()
    assert figure.axes == []
    assert texts(figure).endswith("acc.")


def ugly() -> Iterator[Figure]:
    """Draw each figure with 14 difficult names, gaps, single seeds, and zero spread."""
    rng = np.random.default_rng(0)
    kinds = list(FEW.values())
    many = {arm: kinds[i % 5] for i, arm in enumerate(UGLY[:-1])}
    yield draw_forest({"m": many}, "Joint", "acc_$x$ %", higher_is_better=True)
    yield draw_forest(
        {f"data set $ {i}": many if i else {} for i in range(8)},
        "Joint",
        "acc",
        higher_is_better=True,
    )
    yield draw_paired_runs(
        {arm: dict.fromkeys(range(i), 1.0 if i % 3 else NAN) for i, arm in enumerate(UGLY)},
        "Joint",
        "$a_1$",
    )
    runs = {arm: [[1.0] * (3 * i), [2.0] * i] for i, arm in enumerate(UGLY)}
    yield draw_curves({"rate.a_$": runs, "rate.b": runs, "rate.c": {}}, "rate", level=1.0)
    levels = tuple(UGLY[:7]), tuple(UGLY[7:])
    yield draw_interactions(
        [
            Interaction(
                "a_$x$", "b " * 60, *levels, dict.fromkeys(itertools.product(*levels), (1, 2, 3))
            )
        ],
        "a",
    )
    yield draw_value_curve(
        "optimizer_$x$", [(arm, [1.0] * i) for i, arm in enumerate(UGLY)], UGLY[3], "acc"
    )
    yield draw_critical_difference(dict.fromkeys(UGLY, 7.5), [UGLY], 6, "acc_$")
    pairs = {
        pair: difference(rng.normal(), 1, "hurts") for pair in itertools.combinations(UGLY[:8], 2)
    }
    yield draw_attribution(list(many.items())[:8], 1.0, "acc", pairs)


@pytest.mark.slow
def test_hard_names_and_values_are_drawn_inside_the_figure_and_never_as_formulas() -> None:
    for figure in ugly():
        figure.draw_without_rendering()
        shown = [t for t in figure.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]
        assert not any(t.get_parse_math() for t in shown if "$" in t.get_text())
        box = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert box.x0 > -0.05
        assert box.y0 > -0.05
        assert box.x1 < width + 0.05
        assert box.y1 < height + 0.05
        for axes in figure.axes:
            size = axes.get_window_extent().size / figure.dpi
            assert size.min() > 0.6  # inches that labels have left to the data
            below = figure.legends[0].get_window_extent() if figure.legends else None
            assert below is None or below.y1 <= axes.get_tightbbox().y0 + 1


RANKS = """
from ibml.report.figures.datasets import draw_critical_difference
from ibml.report.figures.style import render_figure
ranks = {"alpha": 1.5, "beta": 1.5, "gamma": 2.5, "delta": 3.1, "epsilon": 4.0}
groups = [("alpha", "beta", "gamma"), ("gamma", "delta"), ("alpha", "epsilon")]
print(render_figure(draw_critical_difference(ranks, groups, 8, "acc"), "svg").hex())
"""


@pytest.mark.slow
def test_ranks_are_drawn_alike_in_every_process() -> None:
    drawn = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", RANKS]
        drawn.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(drawn) == 1


@pytest.mark.slow
def test_the_same_figure_gives_the_same_bytes() -> None:
    def draw() -> Figure:
        return draw_forest({"m": FEW, "n": FEW}, "Joint", "acc", higher_is_better=True)

    figure = draw()
    for form, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        content = render_figure(figure, form)
        assert content.startswith(start)
        assert content == render_figure(figure, form) == render_figure(draw(), form)
        assert not re.search(rb"CreationDate|dc:date|matplotlib\.org", content)
    assert b"/Subtype /Type3" not in render_figure(figure, "pdf")
    assert b"/FontFile2" in render_figure(figure, "pdf")


def test_a_users_own_settings_do_not_change_a_figure() -> None:
    content = render_figure(draw_paired_runs({"a": {0: 1.0}}, "a", "acc"), "png")
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "black", "savefig.dpi": 30}):
        assert render_figure(draw_paired_runs({"a": {0: 1.0}}, "a", "acc"), "png") == content


def test_14_arms_differ_in_their_marker_and_in_colour_or_line() -> None:
    found = list(assign_looks(map(str, range(14))).values())
    assert len({look.marker for look in found}) == 14
    assert len({(look.colour, str(look.line)) for look in found}) == 14


def test_labels_are_wrapped_then_lose_their_middle_and_stay_apart() -> None:
    assert shorten("method.bio.weight=0.25", 12) == "method.bio.\nweight=0.25"
    assert shorten("a\nb\t c", 12) == "a b c"
    assert shorten("x" * 12 + "y" * 12, 10, 1) == "xxxxx…yyyy"
    long = [f"{'a' * 30}={i}{'b' * 30}" for i in (1, 2)]
    assert shorten_names(long, 16, 1) == ["…aaaaaaa…bbbbbbb", "…aaaaaaa…bbbbbbb #2"]
    assert shorten_names(long, 24, 1) == ["…aaaaaaa=1bb…bbbbbbbbbbb", "…aaaaaaa=2bb…bbbbbbbbbbb"]
