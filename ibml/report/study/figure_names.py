"""Names of a study that its figures cannot show as they are."""

from __future__ import annotations

from ibml.records import StudyRecord

_MAX_NAMES = 5


def describe_undrawable_names(study: StudyRecord) -> str:
    """Return a note about names with characters that no installed font has; an empty text if there are none."""
    named = [name for name in _list_shown_names(study) if not name.isascii()]
    if not named:
        return ""  # without the time that fonts take
    from ibml.report.figures.fonts import find_undrawable

    missing = {name: chars for name in named if (chars := find_undrawable(name))}
    if not missing:
        return ""
    listed = [
        f"{name!r} ({_format_code_points(chars)})"
        for name, chars in list(missing.items())[:_MAX_NAMES]
    ]
    more = f" and {len(missing) - _MAX_NAMES:,} more" if len(missing) > _MAX_NAMES else ""
    return (
        f"no installed font has some characters of {', '.join(listed)}{more}; figures show \N{REPLACEMENT CHARACTER}."
        " Install a font that has them, or set other names in the study file's `table.names`."
    )


def _list_shown_names(study: StudyRecord) -> list[str]:
    """Return what figures name, as they do, each once."""
    design, metrics = study.design, study.table.metrics or ()
    levels = [level for of_factor in design.factors.values() for level in of_factor]
    names = (*study.arms, *study.datasets, *design.factors, *design.components, *metrics)
    return list(dict.fromkeys([*map(study.table.get_display_name, names), *levels]))


def _format_code_points(chars: str) -> str:
    return " ".join(f"U+{ord(char):04X}" for char in chars[:_MAX_NAMES])
