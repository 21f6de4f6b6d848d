"""The tag `ibml.study.NAME` of a trial's run, which has the name of the trial's arm in that study.

MLflow allows neither `+` nor `=` in the name of a tag, which the names of studies with overrides have.
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
    return {
        name.removeprefix(_PREFIX).translate(_READ): arm
        for name, arm in tags.items()
        if name.startswith(_PREFIX)
    }
