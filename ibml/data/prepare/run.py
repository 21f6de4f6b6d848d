"""Preparation of a data set by its name."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ibml.common.errors import IbmlError
from ibml.common.imports import load_object
from ibml.config.data import PREPARATIONS
from ibml.data.prepare.preparation import Preparation


def prepare(name: str, raw: Path, root: Path, console: Console) -> Preparation:
    """Put a data set into its layout; what was made and what could not be is in the work that is given back."""
    work = Preparation(raw, root, console)
    try:
        load_object(PREPARATIONS[name])(work)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise IbmlError(f"{place}{error.strerror or error}; what was made before is kept") from None
    return work
