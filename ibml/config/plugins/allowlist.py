"""Allow list of plug-in packages: those named in the user's own file or on the command line.

A study file from another person may name any package. A configuration therefore never allows
anything.
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
"""Environment variable with the packages allowed on the command line, separated by commas.

It is inherited by the processes that this one starts."""


def _check_package_name(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(
            f"{name!r} is not a package; give the first part of the name that Python imports,"
            " for example mypackage"
        )
    return name


class UserConfig(Config):
    """User settings, `~/.config/ibml/config.yaml`."""

    plugins: Items[Annotated[str, AfterValidator(_check_package_name)]] = ()
    """Packages whose methods, fusions, encoders and data sets configurations may name."""


def get_user_file() -> Path:
    """Return the path of the user settings, which may not exist."""
    return get_user_folder("config") / "config.yaml"


@cache
def load_user_config(file: Path) -> UserConfig:
    """Load the user settings; a missing file has the defaults.

    Args:
        file: Path of the settings.

    Returns:
        The settings.

    Raises:
        ConfigError: The file cannot be read or is not valid.
    """
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
    """Allow packages in this process and in those that it starts.

    Args:
        packages: Names of top-level packages.

    Raises:
        ValueError: A name is not that of a top-level package.
    """
    named = [*_list_named_packages(), *map(_check_package_name, packages)]
    os.environ[VARIABLE] = ",".join(dict.fromkeys(named))


def _list_named_packages() -> list[str]:
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return [name for name in names if name]


def list_allowed_packages() -> list[str]:
    """List the packages that may run as plug-ins; invalid user settings allow none."""
    try:
        own = load_user_config(get_user_file()).plugins
    except ConfigError:
        own = ()
    return list(dict.fromkeys([*_list_named_packages(), *own]))


def find_package_files(package: str) -> list[Path]:
    """Return the folders of a package, or the file of a module; empty if it is not installed."""
    spec = _find_spec(package)
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        locations = [spec.origin]
    else:
        locations = list(spec.submodule_search_locations)
    return [Path(location).absolute() for location in locations if location]


def find_allowed_package(package: str) -> ModuleSpec:
    """Locate an allowed package without importing it.

    The working folder is searched too, but only for packages allowed for this process.

    Args:
        package: Name of a top-level package.

    Returns:
        Import spec of the package.

    Raises:
        ValueError: The package is not allowed, or not installed.
    """
    named = _list_named_packages()
    file = get_user_file()
    if package not in named and package not in load_user_config(file).plugins:
        user_file = str(file).replace(str(get_home_folder()), "~", 1)
        raise ValueError(
            f"the package {package!r} may not run as a plug-in; if you trust its code,"
            f" say --allow-plugin {package} or put 'plugins: [{package}]' into {user_file}"
        )
    if package in named:
        _make_importable(package, Path.cwd())
    spec = _find_spec(package)
    if spec is None:
        here = " or in the working folder" if package in named else ""
        raise ValueError(f"no package {package!r} is installed{here}")
    return spec


def _make_importable(package: str, folder: Path) -> None:
    """Add a folder to `sys.path` if the package is only found there.

    The folder is appended, so that its files do not shadow installed modules.
    """
    is_in_folder = (folder / f"{package}.py").is_file() or (folder / package).is_dir()
    if is_in_folder and _find_spec(package) is None:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def _find_spec(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except ValueError:  # the module was started as a script and has no spec
        return None


def find_package_folder(package: str) -> Path:
    """Return the folder that contains an allowed package.

    Args:
        package: Name of a top-level package.

    Returns:
        The parent of the package's folder or file.

    Raises:
        ValueError: The package is not allowed, or not installed.
    """
    spec = find_allowed_package(package)
    locations = spec.submodule_search_locations
    path = next(iter(locations)) if locations else spec.origin or ""
    return Path(path).absolute().parent


def allow_from_folder(folder: Path, package: str) -> None:
    """Allow a package, and import it from a folder if it is not installed.

    Args:
        folder: Folder that contains the package.
        package: Name of a top-level package.
    """
    allow_packages([package])
    _make_importable(package, folder)
