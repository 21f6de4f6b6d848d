"""Packages that only some data sets need."""

from __future__ import annotations

import importlib
from typing import Any

from ibml.config.base import IbmlError


def need(module: str, extra: str) -> Any:
    """An optional package; raises `IbmlError` that names what to install where it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        raise IbmlError(f"needs {package}; install it with: pip install 'ibml[{extra}]'") from None
