"""Texts in figures: shortened names, wrapped labels, numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from ibml.report.figures.fonts import is_drawable


def shorten(text: str, width: int = 28, lines: int = 2) -> str:
    """Shorten a text to a label.

    A long text loses its middle, because names of arms differ at their ends. A character that no
    font has becomes a replacement character.

    Args:
        text: Any text.
        width: Characters per line; a wide character (Chinese, Japanese, Korean) counts as two.
        lines: Maximum number of lines.

    Returns:
        Label with at most `lines` lines.
    """
    plain = _sanitize_label(text)
    width = max(1, width * len(plain) // cell_len(plain))
    pieces = _wrap_text(plain, width)
    if len(pieces) <= lines:
        return "\n".join(pieces)
    room = width * lines - 1
    cut = f"{plain[: room - room // 2]}…{plain[len(plain) - room // 2 :]}"
    return "\n".join(cut[start : start + width] for start in range(0, len(cut), width))


def _sanitize_label(text: str) -> str:
    """Replace characters that cannot be printed or drawn, and collapse white space."""
    chars = []
    for char in text:
        if not char.isprintable():
            chars.append(" ")
        elif is_drawable(char):
            chars.append(char)
        else:
            chars.append("\N{REPLACEMENT CHARACTER}")
    return " ".join("".join(chars).split()) or "(no name)"


def _wrap_text(text: str, width: int) -> list[str]:
    """Break a text at spaces or within dotted paths, and within numbers only if necessary."""
    lines = [""]
    for piece in re.split(r"(?<=[ _=,/])|(?<=\.)(?=\D)", text):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]


def shorten_names(texts: Iterable[str], width: int = 28, lines: int = 2) -> list[str]:
    """Shorten different texts to labels that are different too.

    Texts whose labels would be equal lose their common beginning instead of their middle. If that
    is not enough, the labels are numbered.

    Args:
        texts: Different texts.
        width: Characters per line.
        lines: Maximum number of lines.

    Returns:
        One label per text.
    """
    given = list(texts)
    first_labels = [shorten(text, width, lines) for text in given]
    counts = Counter(first_labels)
    alike = []
    for text, label in zip(given, first_labels, strict=True):
        if counts[label] > 1:
            alike.append(text)
    common = max(0, _measure_common_prefix(alike) - 8)
    seen: Counter[str] = Counter()
    labels = []
    for text, first_label in zip(given, first_labels, strict=True):
        label = first_label
        if common and text in alike:
            label = shorten("…" + text[common:].lstrip(" ._=,/"), width, lines)
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label} #{seen[label]}")
    return labels


def _measure_common_prefix(texts: Sequence[str]) -> int:
    """Return the position of the first difference; 0 if one text is the beginning of all."""
    for position, letters in enumerate(zip(*texts, strict=False)):
        if len(set(letters)) > 1:
            return position
    return 0


def format_signed_label(value: float, digits: int = 2) -> str:
    """Return a number with its sign, with a typographic minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def format_numeral(value: float) -> str:
    """Return a number with up to six significant digits and a short exponent."""
    text = re.sub(r"e([+-])0+", r"e\1", f"{value:.6g}")
    return text.replace("-", "−").replace("e+", "e")
