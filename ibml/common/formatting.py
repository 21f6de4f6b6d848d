"""Text of counts, lists and values, shared by tables, pages and views."""

from __future__ import annotations

from collections.abc import Sequence


def format_count(count: int, noun: str) -> str:
    """Return a number with its noun, for example `1 seed` or `3 seeds`."""
    plural = "" if count == 1 else "s"
    return f"{count} {noun}{plural}"


def join_words(parts: Sequence[str], word: str = "and") -> str:
    """Return the parts as `a, b and c`, with `word` before the last one."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}"


def format_value(value: object, digits: int = 6, none: str = "none") -> str:
    """Return the value of a parameter as text.

    Args:
        value: Any value of a configuration.
        digits: Significant digits of a float.
        none: Text for None.

    Returns:
        The float rounded to `digits`, `none`, or `str(value)`.
    """
    if value is None:
        return none
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)
