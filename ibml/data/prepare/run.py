"""Preparation of a data set by its name."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ibml.common.errors import IbmlError
from ibml.common.imports import load_object
from ibml.config.data import PREPARATIONS
from ibml.data.prepare.preparation import Preparation


def prepare(name: str, raw: Path, root: Path, console: Console) -> Preparation:
    """Convert the distribution of a data set into the layout that ibml reads.

    Args:
        name: Type of the data set.
        raw: Folder of the distribution, which is only read.
        root: Folder of the result.
        console: Console for progress and messages.

    Returns:
        The finished preparation, with its counts and the samples that failed.

    Raises:
        IbmlError: The distribution is incomplete, or a file cannot be read or written.
    """
    preparation = Preparation(raw, root, console)
    try:
        load_object(PREPARATIONS[name])(preparation)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        message = f"{place}{error.strerror or error}; files that are complete were kept"
        raise IbmlError(message) from None
    return preparation
