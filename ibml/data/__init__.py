"""Data sets: load their splits, hash their content, prepare and describe them.

`load` returns the splits of a configuration and `fingerprint` a hash of the data's content.
`prepare_datasets` checks and decodes data sets in files before training, and `describe` returns
what the record of a trial says about its data.

Names are imported on first use, since `ibml.config` imports the configurations in `ibml.data.sets`.
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
    **dict.fromkeys(("describe", "fingerprint", "load", "prepare_datasets"), "access"),
    **dict.fromkeys(("AnySplit", "Dataset", "Split", "StreamedSplit"), "base"),
    "DataError": "listing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
