"""URL of the search database, and the study attribute that holds a search's specification.

Optuna is not imported here, so that commands which only need the URL start fast.
"""

from __future__ import annotations

import os

DEFAULT_URL = "sqlite:///optuna.db"
SPEC = "ibml.spec"
"""Study attribute with the specification of a search, see `SearchPlan.build_spec`.

It is written last: a study without it is incomplete.
"""


def choose_url(given: str | None) -> str:
    """Return the URL of the search database.

    Args:
        given: URL from the command line or the API, if any.

    Returns:
        `given`, else the environment variable `OPTUNA_STORAGE`, else a SQLite file in the working
        directory.
    """
    return (given or "").strip() or os.environ.get("OPTUNA_STORAGE", "").strip() or DEFAULT_URL
