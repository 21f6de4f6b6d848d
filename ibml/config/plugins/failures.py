"""Exceptions in a line, with the place in the user's own code where they came from."""

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
_MOST = 440
"""Characters of a message that is followed by its place; stores cut at 500."""


def describe_failure(error: BaseException) -> str:
    """Return what went wrong with a trial, in a line.

    Args:
        error: The exception that ended the trial. An `IbmlError` says everything itself.

    Returns:
        The exception with the last line of the user's own code that was running, if any: `KeyError('x') (mine.py:12)`.
    """
    if isinstance(error, IbmlError):
        return str(error)
    text, place = repr(error), find_user_place(error)
    return (
        text if not place else f"{text if len(text) <= _MOST else f'{text[:_MOST]}...'} ({place})"
    )


def format_error(error: BaseException) -> str:
    """An error in a line, with the place in the code where it came from: the user's code before all other."""
    shown = format_validation_error(error) if isinstance(error, ValidationError) else error
    text = " ".join(f"{type(error).__name__}: {shown}".split())
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:
        return text  # which says the place itself
    return f"{text} ({find_user_place(error) or f'{Path(frames[-1].filename).name}:{frames[-1].lineno}'})"


def find_user_place(error: BaseException) -> str:
    """Return file and line of the user's last frame in a traceback; empty where there is none.

    The user's code is that of plug-in packages, wherever they are installed, and all code that belongs neither to ibml,
    nor to an installed package, nor to Python.
    """
    packages = {package: find_package_files(package) for package in list_allowed_packages()}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if shown := _format_user_file(frame.filename, packages.values()):
            return f"{shown}:{frame.lineno}"
    return ""


def _format_user_file(name: str, packages: Iterable[list[Path]]) -> str:
    """A file of the user's as it is shown: from its package on, or from the working folder on."""
    if name.startswith("<"):
        return ""
    file = Path(name).absolute()
    for place in (place for places in packages for place in places):
        if file == place or place in file.parents:
            return file.relative_to(place.parent).as_posix()
    others = (_IBML, *(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")))
    if _INSTALLED & set(file.parts) or any(folder in file.parents for folder in others):
        return ""
    here = Path.cwd()
    return file.relative_to(here).as_posix() if here in file.parents else str(file)
