"""Data sets: `load` returns the splits of a configuration, `fingerprint` hashes the data's content, and `prepare_datasets` checks
and decodes what is in files before anything is trained on it.

Names are imported when they are used, since `ibml.config` imports the configurations in `ibml.data.sets`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibml.data.access import describe, fingerprint, load, prepare_datasets
    from ibml.data.base import AnySplit, Dataset, Split, StreamedSplit
    from ibml.data.listing import DataError

__all__ = [
    "AnySplit",
    "DataError",
    "Dataset",
    "Split",
    "StreamedSplit",
    "describe",
    "fingerprint",
    "load",
    "prepare_datasets",
]

_MODULES = {
    **dict.fromkeys(("fingerprint", "load", "describe", "prepare_datasets"), "access"),
    **dict.fromkeys(("AnySplit", "Dataset", "Split", "StreamedSplit"), "base"),
    "DataError": "listing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
