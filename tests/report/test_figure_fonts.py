"""Labels of figures in characters that the default font lacks: with a test font, none, and CJK."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.image import imread

from ibml.report.figures import fonts
from ibml.report.figures.differences import draw_paired_runs
from ibml.report.figures.labels import shorten
from ibml.report.figures.style import render_figure
from ibml.report.study.figure_names import describe_undrawable_names
from tests.support.records import study

RARE = "\U00012000"
"""A cuneiform sign, which a test's machine hardly has in a font."""
RARER = "\U0001cf00\U00012f90\U0001f680"
"""Znamenny, Cypro-Minoan, and an emoji: one of them is in no font of a test's machine."""


def forget_fonts() -> None:
    fonts._list_candidates.cache_clear()
    fonts._has_font.cache_clear()


@pytest.fixture
def own_font(tmp_path: Path) -> Iterator[str]:
    """A font with the rare character, a full square, as if it were installed."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "sign"])
    builder.setupCharacterMap({ord(RARE): "sign"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "sign": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "sign": (1000, 0)})
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Own Sans", "styleName": "Regular", "psName": "OwnSans"})
    builder.setupOS2(sTypoAscender=1000, usWinAscent=1000, usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "own.ttf")
    before = list(font_manager.fontManager.ttflist)
    font_manager.fontManager.addfont(tmp_path / "own.ttf")
    forget_fonts()
    yield "Own Sans"
    font_manager.fontManager.ttflist[:] = before
    forget_fonts()


def figure_of(name: str) -> Figure:
    return draw_paired_runs({name: {0: 1.0, 1: 2.0}, "b": {0: 3.0}}, name, "acc")


def shown_families(figure: Figure) -> set[tuple[str, ...]]:
    return {
        tuple(text.get_fontfamily()) for text in figure.findobj(mpl.text.Text) if text.get_text()
    }


def test_a_label_is_drawn_by_an_installed_font_that_has_it(own_font: str) -> None:
    assert shorten(f"a {RARE}") == f"a {RARE}"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        figure = figure_of(f"a {RARE}")
        assert shown_families(figure) == {(fonts.BASE, own_font)}
        drawn = {form: render_figure(figure, form) for form in ("png", "pdf", "svg")}
    assert b"OwnSans" in drawn["pdf"]
    blank = imread(io.BytesIO(render_figure(figure_of("a"), "png")))
    assert (imread(io.BytesIO(drawn["png"])) < 0.3).sum() > (blank < 0.3).sum() + 100, (
        "the square is there"
    )
    assert describe_undrawable_names(study({"ref": [0.5], RARE: [0.6]})) == ""


def test_a_figure_that_needs_no_other_font_has_the_same_bytes_with_one(own_font: str) -> None:
    with_font = [render_figure(figure_of("ε-café ±"), form) for form in ("png", "pdf", "svg")]
    font_manager.fontManager.ttflist[:] = [
        e for e in font_manager.fontManager.ttflist if e.name != own_font
    ]
    forget_fonts()
    assert [
        render_figure(figure_of("ε-café ±"), form) for form in ("png", "pdf", "svg")
    ] == with_font
    assert shown_families(figure_of("ε-café ±")) == {(fonts.BASE,)}


def test_characters_of_no_font_are_replaced_and_their_names_are_noted() -> None:
    char = next(iter(fonts.find_undrawable(RARER)), None)
    if char is None:
        pytest.skip("the installed fonts have all characters that this test knows")
    name = f"a {char}é"
    assert shorten(name) == "a \N{REPLACEMENT CHARACTER}é"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        render_figure(figure_of(name), "png")
    note = describe_undrawable_names(study({"ref": [0.5], name: [0.6]}))
    assert note.startswith(
        f"no installed font has some characters of {name!r} (U+{ord(char):04X}); figures show "
        "\ufffd."
    )
    assert "`table.names`" in note
    assert (
        describe_undrawable_names(
            study({"ref": [0.5], name: [0.6]}, table={"names": {name: "plain"}})
        )
        == ""
    )
    assert describe_undrawable_names(study({"ref": [0.5], "ε-café": [0.6]})) == ""


@pytest.mark.parametrize(
    "name", ["基线", "한국어", "日本語かな", "हिन्दी", "العربية", "e\u0301", "🚀"]
)
def test_every_script_is_drawn_or_noted(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        figure = figure_of(name)
        render_figure(figure, "png")
    replaced = "\N{REPLACEMENT CHARACTER}" in shorten(name)
    assert replaced == bool(describe_undrawable_names(study({"ref": [0.5], name: [0.6]})))


def test_wide_characters_take_the_room_of_two() -> None:
    assert shorten("中" * 30, 28, 2).count("\n") == 1
    assert max(map(len, shorten("中" * 30, 28, 2).split("\n"))) <= (
        14 if fonts.is_drawable("中") else 28
    )
