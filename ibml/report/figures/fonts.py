"""Fonts of figures: DejaVu Sans, and installed ones for characters that it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

BASE = "DejaVu Sans"
"""Comes with matplotlib, so figures that need no other font are the same on every machine."""
_PLAIN_WEIGHTS = (400, "book", "medium", "normal", "regular", "roman")
_UNUSABLE = ("Last Resort", "Color", "Colour")
"""Parts of the names of fonts that have placeholders for all characters, or pictures that matplotlib cannot draw."""

_borrowed: ContextVar[set[str] | None] = ContextVar("_borrowed", default=None)


def is_drawable(char: str) -> bool:
    """Return whether an installed font has a character; one that `BASE` lacks is noted for `collect_borrowed`."""
    if ord(char) in _load_base_glyphs():
        return True
    found = _has_font(char)
    noted = _borrowed.get()
    if found and noted is not None:
        noted.add(char)
    return found


def find_undrawable(text: str) -> str:
    """Return the characters of a text that no installed font has, each once."""
    return "".join(
        dict.fromkeys(char for char in text if char.isprintable() and not is_drawable(char))
    )


@contextmanager
def collect_borrowed() -> Iterator[set[str]]:
    """Collect the characters of labels made in this context that `BASE` lacks and another font has."""
    noted: set[str] = set()
    token = _borrowed.set(noted)
    try:
        yield noted
    finally:
        _borrowed.reset(token)


def choose_families(chars: Iterable[str]) -> list[str]:
    """Return `BASE` and the fewest families, each time the one with the most, that have these characters."""
    missing = {ord(char) for char in chars} - _load_base_glyphs()
    chosen = [BASE]
    while missing:
        best = max(
            _list_candidates(), key=lambda path: len(missing & _load_glyphs(path)), default=None
        )
        if best is None or not missing & _load_glyphs(best):
            break
        chosen.append(_list_candidates()[best])
        missing -= _load_glyphs(best)
    return chosen


@cache
def _load_base_glyphs() -> frozenset[int]:
    return _load_glyphs(str(font_manager.findfont(BASE)))


@cache
def _has_font(char: str) -> bool:
    return any(ord(char) in _load_glyphs(path) for path in _list_candidates())


@cache
def _load_glyphs(path: str) -> frozenset[int]:
    """Return the code points that the first face of a font file has; none for a file that is no font."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@cache
def _list_candidates() -> dict[str, str]:
    """Return font file -> family of upright fonts of normal weight, those without serifs first."""
    _add_new_fonts()
    found = {
        entry.fname: entry.name
        for entry in reversed(font_manager.fontManager.ttflist)
        if entry.style == "normal" and entry.weight in _PLAIN_WEIGHTS
    }
    usable = [
        (name, path) for path, name in found.items() if not any(part in name for part in _UNUSABLE)
    ]
    usable.sort(
        key=lambda font: ("Sans" not in font[0], "Mono" in font[0], font[0], Path(font[1]).name)
    )
    return {path: name for name, path in usable}


def _add_new_fonts() -> None:
    """Add fonts that were installed after matplotlib has listed them."""
    listed = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - listed):
        with suppress(OSError, RuntimeError, NotImplementedError):
            font_manager.fontManager.addfont(path)
