"""Where the database of searches is, and what it has of a search; Optuna is not imported."""

from __future__ import annotations

import os

DEFAULT_URL = "sqlite:///optuna.db"
SPEC = "ibml.spec"
"""The study attribute that says what is searched. It is written last, so a study without it was begun and cut off."""


def choose_url(given: str | None) -> str:
    """The database's URL: as given, else `OPTUNA_STORAGE`, else a SQLite file in the working folder."""
    return (given or "").strip() or os.environ.get("OPTUNA_STORAGE", "").strip() or DEFAULT_URL
