"""Folders that are named by what a user or a store calls things."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import overload

from ibml.storage import ObjectPath, Place

_UNSAFE = re.compile(r"[\x00-\x1f\x7f%:\\]")


@overload
def below(root: Path, name: str) -> Path: ...
@overload
def below(root: ObjectPath, name: str) -> ObjectPath: ...
def below(root: Place, name: str) -> Place:
    """The folder of a name below a root; `/` makes folders within folders. Whatever would lead elsewhere is written as
    `%` and its number, so that different names have different folders."""
    return root.joinpath(*map(_safe, name.split("/")))


def _safe(part: str) -> str:
    if part.strip(".") == "":  # nothing, the folder itself, or the one above
        return part.replace(".", "%2E") or "%"
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", part)


DATA_VARIABLE = "IBML_DATA"
"""A folder with one folder per data set, by its type; for data sets without a `root`."""
CACHE_VARIABLE = "IBML_CACHE"


def absolute_places() -> dict[str, str]:
    """The variables that name folders, for processes that work elsewhere."""
    given = {name: os.environ.get(name) for name in (DATA_VARIABLE, CACHE_VARIABLE)}
    return {name: str(Path(value).absolute()) for name, value in given.items() if value}


def state_folder() -> Path:
    """The user's folder for what must not be lost. Raises `RuntimeError` where there is no home."""
    return (Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "ibml").expanduser().absolute()


def cache_folder() -> Path:
    """The user's folder for what can be made again: IBML_CACHE, else one in the user's cache.

    Raises `RuntimeError` where there is no home.
    """
    given, base = os.environ.get(CACHE_VARIABLE), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(given or Path(base) / "ibml")).expanduser().absolute()
