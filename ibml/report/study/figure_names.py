"""Names of a study that its figures cannot show as they are."""

from __future__ import annotations

from ibml.records import StudyRecord

_MOST_NAMED = 5


def undrawable_names_note(study: StudyRecord) -> str:
    """Return a note about names with characters that no installed font has; an empty text if there are none."""
    named = [name for name in _shown_names(study) if not name.isascii()]
    if not named:
        return ""  # without the time that fonts take
    from ibml.report.figures.fonts import undrawable

    missing = {name: chars for name in named if (chars := undrawable(name))}
    if not missing:
        return ""
    listed = [f"{name!r} ({_code_points(chars)})" for name, chars in list(missing.items())[:_MOST_NAMED]]
    more = f" and {len(missing) - _MOST_NAMED:,} more" if len(missing) > _MOST_NAMED else ""
    return (
        f"no installed font has some characters of {', '.join(listed)}{more}; figures show \N{REPLACEMENT CHARACTER}."
        " Install a font that has them, or set other names in the study file's `table.names`."
    )


def _shown_names(study: StudyRecord) -> list[str]:
    """Return what figures name, as they do, each once."""
    design, metrics = study.design, study.table.metrics or ()
    levels = [level for of_factor in design.factors.values() for level in of_factor]
    names = (*study.arms, *study.datasets, *design.factors, *design.components, *metrics)
    return list(dict.fromkeys([*map(study.table.shown, names), *levels]))


def _code_points(chars: str) -> str:
    return " ".join(f"U+{ord(char):04X}" for char in chars[:_MOST_NAMED])
