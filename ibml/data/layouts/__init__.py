"""Layouts of data sets on disk: for each, the function that lists its samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibml.config.datasets import FilesConfig
from ibml.data.layouts import (
    ave,
    avsbench,
    cremad,
    folder,
    jsonl,
    kinetics_sounds,
    mnist3d,
    modelnet40,
    ucf101,
    vggsound,
)
from ibml.data.listing import Listing

LAYOUTS: dict[str, Callable[[Any, Listing], None]] = {
    "cremad": cremad.list_samples,
    "ave": ave.list_samples,
    "avsbench": avsbench.list_samples,
    "vggsound": vggsound.list_samples,
    "kinetics_sounds": kinetics_sounds.list_samples,
    "ucf101": ucf101.list_samples,
    "food101": jsonl.list_samples,
    "mvsa": jsonl.list_samples,
    "mnist3d": mnist3d.list_samples,
    "modelnet40": modelnet40.list_samples,
    "folder": folder.list_samples,
}
"""By the type of the configuration, which each takes with a listing to fill."""


def list_samples(config: FilesConfig, listing: Listing) -> None:
    """Fill a listing with the samples of a data set."""
    LAYOUTS[config.type](config, listing)
