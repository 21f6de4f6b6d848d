"""Which packages may run as plug-ins: those that the user's own file or the command line names.

A file of somebody else's can name any code, so what a configuration says allows nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationError

from ibml.common.errors import ConfigError, Problem
from ibml.common.paths import get_home_folder, get_user_folder
from ibml.common.yaml import documents
from ibml.config.base import Config, Items
from ibml.config.loading.error_messages import describe_errors

VARIABLE = "IBML_ALLOW_PLUGINS"
"""Package names, separated by commas, as `--allow-plugin` leaves them for this process and those that it starts."""


def _check_package_name(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(
            f"{name!r} is no package; give the first part of what Python imports, for instance mypackage"
        )
    return name


class UserConfig(Config):
    """The user's own file, `~/.config/ibml/config.yaml`."""

    plugins: Items[Annotated[str, AfterValidator(_check_package_name)]] = ()
    """Packages whose methods, fusions, encoders and data sets configurations may name."""


def get_user_file() -> Path:
    """Where the user's own file is, if there is one."""
    return get_user_folder("config") / "config.yaml"


@cache
def load_user_config(file: Path) -> UserConfig:
    """What the file says, or nothing where there is none; raises `ConfigError`."""
    if not file.is_file():
        return UserConfig()
    document = documents.read(file)
    try:
        return UserConfig.model_validate(document.data)
    except ValidationError as error:
        found = describe_errors(error, UserConfig, document.data)
    raise ConfigError(
        Problem(replace(document.source(path), path=""), message) for path, message in found
    )


def allow_packages(packages: Iterable[str]) -> None:
    """Allow packages to this process and those that it starts; raises `ValueError` for what is no package's name."""
    os.environ[VARIABLE] = ",".join(
        dict.fromkeys([*_list_named_packages(), *map(_check_package_name, packages)])
    )


def _list_named_packages() -> list[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def list_allowed_packages() -> list[str]:
    """Return the packages that may run as plug-ins. A user's file that cannot be used allows none."""
    try:
        own = load_user_config(get_user_file()).plugins
    except ConfigError:
        own = ()
    return list(dict.fromkeys([*_list_named_packages(), *own]))


def find_package_files(package: str) -> list[Path]:
    """Return the folders of a package, or its file; nothing where it is not there."""
    spec = _find_spec(package)
    if spec is None:
        return []
    inside = spec.submodule_search_locations
    found = [spec.origin] if inside is None else list(inside)
    return [Path(place).absolute() for place in found if place]


def find_allowed_package(package: str) -> ModuleSpec:
    """Where an allowed package is; nothing of it is imported. What was allowed by name for this process, not for all
    times, may lie in the working folder too. Raises `ValueError` for a package that is not allowed or not there."""
    named, file = _list_named_packages(), get_user_file()
    if package not in named and package not in load_user_config(file).plugins:
        shown = str(file).replace(str(get_home_folder()), "~", 1)
        raise ValueError(
            f"the package {package!r} may not run as a plug-in; if you trust its code, say --allow-plugin {package}"
            f" or put 'plugins: [{package}]' into {shown}"
        )
    if package in named:
        _make_importable(package, Path.cwd())
    spec = _find_spec(package)
    if spec is None:
        here = " or in the working folder" if package in named else ""
        raise ValueError(f"no package {package!r} is installed{here}")
    return spec


def _make_importable(package: str, folder: Path) -> None:
    """Let Python find a package that lies in a folder and nowhere else: the folder comes last, so that no file in it
    takes the place of an installed module."""
    if _find_spec(package) is None and (
        (folder / f"{package}.py").is_file() or (folder / package).is_dir()
    ):
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def _find_spec(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except ValueError:  # a module that was started as a script has none
        return None


def find_package_folder(package: str) -> Path:
    """The folder in which an allowed package lies."""
    spec = find_allowed_package(package)
    inside = spec.submodule_search_locations
    return Path(next(iter(inside)) if inside else spec.origin or "").absolute().parent


def allow_from_folder(folder: Path, package: str) -> None:
    """Allow a package that lies in this folder, unless it is installed here."""
    allow_packages([package])
    _make_importable(package, folder)
