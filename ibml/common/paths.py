"""User folders, and folders named after studies and other things that users name."""

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
    """Return the folder for a name below a root.

    Slashes in the name separate folders. Characters and parts that would lead outside the root are
    percent-encoded, so that different names have different folders.

    Args:
        root: Parent folder.
        name: Name of a study, search, experiment or run.

    Returns:
        The path below `root`; it is not created.
    """
    return root.joinpath(*map(_escape_part, name.split("/")))


def _escape_part(part: str) -> str:
    if part.strip(".") == "":  # empty, the folder itself or its parent
        return part.replace(".", "%2E") or "%"
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", part)


DATA_VARIABLE = "IBML_DATA"
"""Environment variable: folder with one folder per data set type, for data sets without `root`."""
CACHE_VARIABLE = "IBML_CACHE"
"""Environment variable: cache folder."""


def get_folder_variables() -> dict[str, str]:
    """Return the environment variables that name folders, as absolute paths.

    They are passed to processes with another working directory. Unset variables are left out.
    """
    given = {name: os.environ.get(name) for name in (DATA_VARIABLE, CACHE_VARIABLE)}
    return {name: str(Path(value).absolute()) for name, value in given.items() if value}


class HomeError(IbmlError):
    """No home folder exists for the user."""


def get_home_folder() -> Path:
    """Return the home folder of the user.

    Returns:
        The folder of `HOME`, or the one that the system has for the user.

    Raises:
        HomeError: If `HOME` is not set and the system has no home folder for the user.
    """
    try:
        return Path.home()
    except RuntimeError:
        raise HomeError(
            f"HOME is not set, and the system has no home folder for user {os.getuid()}: set HOME"
            " to a folder that you can write to, for instance HOME=/tmp/me"
        ) from None


def expand_home(path: str | Path) -> Path:
    """Expand a leading `~` or `~user` and make the path absolute.

    Args:
        path: Path of a user.

    Returns:
        The absolute path.

    Raises:
        HomeError: If there is no such home folder.
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
    """Return the user's state folder of ibml, for data that must not be lost."""
    return get_user_folder("state")


def get_cache_folder() -> Path:
    """Return the folder of `IBML_CACHE`, or the user's cache folder of ibml."""
    given = os.environ.get(CACHE_VARIABLE)
    return expand_home(given) if given else get_user_folder("cache")


def get_user_folder(kind: Literal["cache", "config", "state"]) -> Path:
    """Return ibml's user folder of one kind, following the XDG base directory specification.

    All systems use the Linux locations, so that files of earlier versions on macOS are found.

    Args:
        kind: Kind of user folder.

    Returns:
        The absolute path; it is not created.

    Raises:
        HomeError: If the folder is in the home folder and the user has none.
    """
    given = os.environ.get(f"XDG_{kind.upper()}_HOME")
    if given and not Path(given).is_absolute():
        # platformdirs ignores a relative value, as the specification requires. Earlier versions
        # of ibml resolved it.
        return expand_home(Path(given) / _APPLICATION)
    folders = Unix(_APPLICATION)
    try:
        if kind == "cache":
            return expand_home(folders.user_cache_path)
        if kind == "config":
            return expand_home(folders.user_config_path)
        return expand_home(folders.user_state_path)
    except RuntimeError:
        get_home_folder()  # names the missing home folder
        raise
