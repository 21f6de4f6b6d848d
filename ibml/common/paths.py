"""Folders that are named by what a user or a store calls things."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, overload

from platformdirs.unix import Unix

from ibml.common.errors import IbmlError
from ibml.common.storage import ObjectPath, StoragePath

_APPLICATION = "ibml"
_UNSAFE = re.compile(r"[\x00-\x1f\x7f%:\\]")


@overload
def join_escaped(root: Path, name: str) -> Path: ...
@overload
def join_escaped(root: ObjectPath, name: str) -> ObjectPath: ...
def join_escaped(root: StoragePath, name: str) -> StoragePath:
    """The folder of a name below a root; `/` makes folders within folders. Whatever would lead elsewhere is written as
    `%` and its number, so that different names have different folders."""
    return root.joinpath(*map(_escape_part, name.split("/")))


def _escape_part(part: str) -> str:
    if part.strip(".") == "":  # nothing, the folder itself, or the one above
        return part.replace(".", "%2E") or "%"
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", part)


DATA_VARIABLE = "IBML_DATA"
"""A folder with one folder per data set, by its type; for data sets without a `root`."""
CACHE_VARIABLE = "IBML_CACHE"


def get_folder_variables() -> dict[str, str]:
    """The variables that name folders, for processes that work elsewhere."""
    given = {name: os.environ.get(name) for name in (DATA_VARIABLE, CACHE_VARIABLE)}
    return {name: str(Path(value).absolute()) for name, value in given.items() if value}


class HomeError(IbmlError):
    """The user has no home folder."""


def get_home_folder() -> Path:
    """Return the home folder of the user.

    Raises:
        HomeError: `HOME` is not set, and the system knows no home of the user either.
    """
    try:
        return Path.home()
    except RuntimeError:
        raise HomeError(
            f"HOME is not set, and the system knows no home folder of user {os.getuid()}: set HOME to a folder that you"
            " can write to, for instance HOME=/tmp/me"
        ) from None


def expand_home(path: str | Path) -> Path:
    """Return an absolute path, with `~` at its beginning replaced by a home folder.

    Raises:
        HomeError: There is no such home folder.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        if str(path).partition("/")[0] == "~":
            get_home_folder()
        raise HomeError(
            f"{path}: there is no user {str(path).partition('/')[0].removeprefix('~')!r}"
        ) from None


def get_state_folder() -> Path:
    """The user's folder for what must not be lost. Raises `HomeError`."""
    return get_user_folder("state")


def get_cache_folder() -> Path:
    """The user's folder for what can be made again: IBML_CACHE, else one in the user's cache.

    Raises `HomeError`.
    """
    given = os.environ.get(CACHE_VARIABLE)
    return expand_home(given) if given else get_user_folder("cache")


def get_user_folder(kind: Literal["cache", "config", "state"]) -> Path:
    """Return ibml's own folder among the user's folders of one kind, as the XDG base directory specification names it.

    Every system has the folders of Linux, so that what an earlier version of ibml wrote on macOS is found.

    Raises:
        HomeError: The folder is in the home folder, and the user has none.
    """
    given = os.environ.get(f"XDG_{kind.upper()}_HOME")
    if given and not Path(given).is_absolute():
        # platformdirs ignores such a value, as the specification says; ibml always resolved it.
        return expand_home(Path(given) / _APPLICATION)
    folders = Unix(_APPLICATION)
    try:
        if kind == "cache":
            return expand_home(folders.user_cache_path)
        return expand_home(
            folders.user_config_path if kind == "config" else folders.user_state_path
        )
    except RuntimeError:
        get_home_folder()  # names the missing home folder
        raise
