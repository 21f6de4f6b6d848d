"""Exceptions formatted as a single line with their location in the user's code."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from ibml.common.errors import IbmlError
from ibml.config.loading.error_messages import format_validation_error
from ibml.config.plugins.allowlist import find_package_files, list_allowed_packages

_IBML = Path(__file__).parents[2]
_INSTALLED = {"site-packages", "dist-packages"}
_MAX_MESSAGE = 440
"""Largest number of characters of a message followed by a location; stores truncate at 500."""


def describe_failure(error: BaseException) -> str:
    """Format the exception that ended a trial as a single line.

    Args:
        error: The exception. The message of an `IbmlError` is returned unchanged.

    Returns:
        The exception, and the last executed line of the user's code, if any:
        `KeyError('x') (mine.py:12)`.
    """
    if isinstance(error, IbmlError):
        return str(error)
    text = repr(error)
    place = find_user_place(error)
    if not place:
        return text
    if len(text) > _MAX_MESSAGE:
        text = f"{text[:_MAX_MESSAGE]}..."
    return f"{text} ({place})"


def format_error(error: BaseException) -> str:
    """Format an exception as a single line with its location.

    Args:
        error: The exception.

    Returns:
        Type, message, and the last line of the user's code in the traceback, or else its last
        line. The message of a `SyntaxError` already has the location.
    """
    message = str(error)
    if isinstance(error, ValidationError):
        message = format_validation_error(error)
    text = " ".join(f"{type(error).__name__}: {message}".split())
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:
        return text
    place = find_user_place(error)
    if not place:
        last = frames[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
    return f"{text} ({place})"


def find_user_place(error: BaseException) -> str:
    """Return file and line of the user's last frame in a traceback.

    The user's code is that of plug-in packages, wherever they are installed, and all code that is
    neither in ibml, nor in an installed package, nor in Python.

    Args:
        error: The exception.

    Returns:
        `file:line`; empty if no frame is in the user's code.
    """
    packages = [find_package_files(package) for package in list_allowed_packages()]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if shown := _format_user_file(frame.filename, packages):
            return f"{shown}:{frame.lineno}"
    return ""


def _format_user_file(name: str, packages: Iterable[list[Path]]) -> str:
    """Return the path of a user's file, relative to its package or to the working folder."""
    if name.startswith("<"):
        return ""
    file = Path(name).absolute()
    for places in packages:
        for place in places:
            if file == place or place in file.parents:
                return file.relative_to(place.parent).as_posix()
    standard_library = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")]
    is_library = any(folder in file.parents for folder in (_IBML, *standard_library))
    if is_library or _INSTALLED & set(file.parts):
        return ""
    here = Path.cwd()
    return file.relative_to(here).as_posix() if here in file.parents else str(file)
