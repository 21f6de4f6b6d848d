"""Fonts of figures: DejaVu Sans, and installed fonts for characters that it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

BASE = "DejaVu Sans"
"""Part of matplotlib, so figures that need no other font are the same on every machine."""
_PLAIN_WEIGHTS = (400, "book", "medium", "normal", "regular", "roman")
_UNUSABLE = ("Last Resort", "Color", "Colour")
"""Parts of the names of fonts with placeholders, or with pictures that matplotlib cannot draw."""

_borrowed: ContextVar[set[str] | None] = ContextVar("_borrowed", default=None)


def is_drawable(char: str) -> bool:
    """Return True if an installed font has a character.

    Within `collect_borrowed`, a character that only another font than `BASE` has is recorded.
    """
    if ord(char) in _load_base_glyphs():
        return True
    found = _has_font(char)
    borrowed = _borrowed.get()
    if found and borrowed is not None:
        borrowed.add(char)
    return found


def find_undrawable(text: str) -> str:
    """Return the characters of a text that no installed font has, without duplicates."""
    missing = [char for char in text if char.isprintable() and not is_drawable(char)]
    return "".join(dict.fromkeys(missing))


@contextmanager
def collect_borrowed() -> Iterator[set[str]]:
    """Collect the characters of labels that need another font than `BASE`.

    Yields:
        Set of characters, filled by the calls of `is_drawable` in this context.
    """
    borrowed: set[str] = set()
    token = _borrowed.set(borrowed)
    try:
        yield borrowed
    finally:
        _borrowed.reset(token)


def choose_families(chars: Iterable[str]) -> list[str]:
    """Return `BASE` and few further families that together have these characters.

    The choice is greedy: each family has the most of the characters that are still missing.
    """
    missing = {ord(char) for char in chars} - _load_base_glyphs()
    families = [BASE]
    while missing:
        candidates = _list_candidates()
        best = max(candidates, key=lambda path: len(missing & _load_glyphs(path)), default=None)
        if best is None or not missing & _load_glyphs(best):
            break
        families.append(candidates[best])
        missing -= _load_glyphs(best)
    return families


@cache
def _load_base_glyphs() -> frozenset[int]:
    return _load_glyphs(str(font_manager.findfont(BASE)))


@cache
def _has_font(char: str) -> bool:
    return any(ord(char) in _load_glyphs(path) for path in _list_candidates())


@cache
def _load_glyphs(path: str) -> frozenset[int]:
    """Return the code points of a font file's first face; empty for a file that is not a font."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@cache
def _list_candidates() -> dict[str, str]:
    """Return font file -> family of upright fonts of normal weight, sans-serif fonts first."""
    _add_new_fonts()
    families = {}
    for entry in reversed(font_manager.fontManager.ttflist):
        is_plain = entry.style == "normal" and entry.weight in _PLAIN_WEIGHTS
        is_usable = not any(part in entry.name for part in _UNUSABLE)
        if is_plain and is_usable:
            families[entry.fname] = entry.name
    ordered = sorted(families.items(), key=_get_preference)
    return dict(ordered)


def _get_preference(font: tuple[str, str]) -> tuple[bool, bool, str, str]:
    path, family = font
    return "Sans" not in family, "Mono" in family, family, Path(path).name


def _add_new_fonts() -> None:
    """Add fonts that were installed after matplotlib built its list."""
    listed = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - listed):
        with suppress(OSError, RuntimeError, NotImplementedError):
            font_manager.fontManager.addfont(path)
