"""Lazy imports: objects named by text, so that a registry imports them on first use."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any


@cache
def load_object(target: str) -> Any:
    """Import an object by its text name.

    Args:
        target: Dotted module name and object name, for example `ibml.training.metrics.gap:gap`.

    Returns:
        The object; cached.

    Raises:
        ImportError: If the module cannot be imported.
        AttributeError: If the module has no such object.
    """
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
