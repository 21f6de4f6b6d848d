"""Layout of 3D MNIST.

`train_point_clouds.h5` and `test_point_clouds.h5` have a group per sample, named by its number,
with the arrays `img` (3, 30, 30) and `points` (N, 3) and the attribute `label`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ibml.data.layouts.hdf5 import UnusableError, get_array, get_group, open_hdf5
from ibml.data.listing import Sample, SampleListing, SamplePart, SplitName
from ibml.data.sets.mnist3d.config import MNIST3DConfig

IMAGE = (3, 30, 30)
_LONGEST = 9
"""Largest number of digits in the name of a group."""


def list_samples(config: MNIST3DConfig, listing: SampleListing) -> None:
    """Add every group of the HDF5 files to the listing."""
    for split in listing.needed:
        file = f"{split}_point_clouds.h5"
        found = open_hdf5(listing, file)
        if found is None:
            continue
        with found:
            for name in sorted(found, key=_build_sort_key):
                _add(listing, split, file, name, found)


def _build_sort_key(name: str) -> tuple[int, str]:
    """Build a key for numeric order, with names that are not numbers first."""
    return (int(name) if _is_number(name) else -1, name)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= _LONGEST


def _add(listing: SampleListing, split: SplitName, file: str, name: str, found: Any) -> None:
    if not _is_number(name):
        listing.add_issue(split, f"{file}: group {name[:60]!r}", "is not named by a number")
        return
    where = f"{file}: group {name}"
    try:
        sample = get_group(found, name)
        image = get_array(sample, "img").shape
        get_array(sample, "points")
        label = _read_label(sample)
    except UnusableError as problem:
        listing.add_issue(split, where, str(problem))
        return
    if image != IMAGE:
        listing.add_issue(split, where, f"'img' has shape {image}, not {IMAGE}", "image")
    parts = {
        "image": SamplePart((file,), inside=f"{name}/img"),
        "points": SamplePart((file,), inside=f"{name}/points"),
    }
    listing.add(split, Sample(where, f"{split} {name}", label, parts))


def _read_label(sample: Any) -> str:
    try:
        value = np.asarray(sample.attrs["label"])
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        raise UnusableError("has no attribute 'label'") from None
    if value.size != 1 or value.dtype.kind not in "iuSUO":
        raise UnusableError("its attribute 'label' is not a number or a text")
    only = value.reshape(-1)[0]
    return only.decode(errors="replace") if isinstance(only, bytes) else str(only)
