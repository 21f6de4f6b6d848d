"""Tag `ibml.study.NAME` of a trial's run: its value is the name of the trial's arm in study NAME.

MLflow allows neither `+` nor `=` in the name of a tag, but names of studies with overrides contain
both. Tags therefore have `/` and `:` instead.
"""

from __future__ import annotations

from collections.abc import Mapping

_PREFIX = "ibml.study."
_WRITTEN = str.maketrans({"+": "/", "=": ":"})
_READ = str.maketrans({"/": "+", ":": "="})


def format_study_tag(study: str) -> str:
    """Return the name of the tag for a study."""
    return _PREFIX + study.translate(_WRITTEN)


def parse_studies(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the studies that a run's tags name, each with the name of the arm."""
    studies = {}
    for name, arm in tags.items():
        if name.startswith(_PREFIX):
            studies[name.removeprefix(_PREFIX).translate(_READ)] = arm
    return studies
