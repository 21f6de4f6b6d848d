"""Layouts of data sets on disk: for each, the function that lists its samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibml.config.datasets import FilesConfig
from ibml.data.layouts import cremad, folder
from ibml.data.listing import Listing

LAYOUTS: dict[str, Callable[[Any, Listing], None]] = {
    "cremad": cremad.list_samples,
    "folder": folder.list_samples,
}
"""By the type of the configuration, which each takes with a listing to fill."""


def list_samples(config: FilesConfig, listing: Listing) -> None:
    """Fill a listing with the samples of a data set."""
    LAYOUTS[config.type](config, listing)
