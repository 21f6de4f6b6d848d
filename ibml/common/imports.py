"""Objects that are named by text, so that a registry imports them only when they are used."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any


@cache
def load_object(target: str) -> Any:
    """Return the object that `module:name` names, for example `ibml.training.metrics.gap:gap`.

    Args:
        target: A module's dotted name and the name of an object in it, separated by a colon.
    """
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
