"""Optional dependencies: libraries that only some data sets and encoders need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ibml.common.errors import IbmlError


def import_optional(module: str, extra: str) -> Any:
    """Import a module of an optional dependency.

    Args:
        module: Dotted name of the module.
        extra: Extra of the ibml package that installs it.

    Returns:
        The module.

    Raises:
        IbmlError: If it is not installed; the message names the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError:
        raise IbmlError(f"needs {module}; install it with: pip install 'ibml[{extra}]'") from None
