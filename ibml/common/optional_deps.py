"""Libraries that only some data sets and encoders need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ibml.common.errors import IbmlError


def import_optional(module: str, extra: str) -> Any:
    """The module; without it, an error that names the extra it comes with."""
    try:
        return import_module(module)
    except ImportError:
        raise IbmlError(f"needs {module}; install it with: pip install 'ibml[{extra}]'") from None
