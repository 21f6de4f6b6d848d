"""Check of a study's names for characters that its figures cannot show."""

from __future__ import annotations

from ibml.records import StudyRecord

_MAX_NAMES = 5


def describe_undrawable_names(study: StudyRecord) -> str:
    """Return a note about names with characters that no installed font has; empty if all fit."""
    named = [name for name in _list_shown_names(study) if not name.isascii()]
    if not named:
        return ""  # The usual case; loading fonts would take a second.
    from ibml.report.figures.fonts import find_undrawable

    missing = []
    for name in named:
        chars = find_undrawable(name)
        if chars:
            missing.append(f"{name!r} ({_format_code_points(chars)})")
    if not missing:
        return ""
    listed = ", ".join(missing[:_MAX_NAMES])
    if len(missing) > _MAX_NAMES:
        listed += f" and {len(missing) - _MAX_NAMES:,} more"
    return (
        f"no installed font has some characters of {listed}; figures show"
        " \N{REPLACEMENT CHARACTER}. Install a font that has them, or set other names in the study"
        " file's `table.names`."
    )


def _list_shown_names(study: StudyRecord) -> list[str]:
    """Return all names that figures show, without duplicates."""
    design, metrics = study.design, study.table.metrics or ()
    names = (*study.arms, *study.datasets, *design.factors, *design.components, *metrics)
    shown = dict.fromkeys(map(study.table.get_display_name, names))
    for levels in design.factors.values():
        shown |= dict.fromkeys(levels)
    return list(shown)


def _format_code_points(chars: str) -> str:
    return " ".join(f"U+{ord(char):04X}" for char in chars[:_MAX_NAMES])
