"""The data sets that can be prepared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ibml.common.errors import IbmlError
from ibml.data.prepare import ave, cremad, food101, mnist3d, modelnet40, mvsa
from ibml.data.prepare.work import Work

PREPARED: dict[str, Callable[[Work], None]] = {
    "cremad": cremad.prepare,
    "ave": ave.prepare,
    "food101": food101.prepare,
    "mvsa": mvsa.prepare,
    "modelnet40": modelnet40.prepare,
    "mnist3d": mnist3d.prepare,
}


def prepare(name: str, raw: Path, root: Path, console: Console) -> Work:
    """Put a data set into its layout; what was made and what could not be is in the work that is given back."""
    work = Work(raw, root, console)
    try:
        PREPARED[name](work)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise IbmlError(f"{place}{error.strerror or error}; what was made before is kept") from None
    return work
