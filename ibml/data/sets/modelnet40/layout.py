"""Layout of ModelNet40.

- `modelnet40_ply_hdf5_2048/ply_data_train0.h5` and so on: arrays `data` (n, 2048, 3) and `label`.
- `modelnet40_ply_hdf5_2048/ply_data_train_0_id2file.json` and so on: a list with the names of the
  rows, class/name.ply.
- `ModelNet40-Images-180/CLASS/NAME/NAME.0.png` to `NAME.179.png`: rendered views.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ibml.data.layouts.clips import strip_cells
from ibml.data.layouts.hdf5 import UnusableError, get_array, open_hdf5
from ibml.data.listing import Sample, SampleListing, SamplePart, SplitName
from ibml.data.sets.modelnet40.config import ModelNet40Config

POINTS = "modelnet40_ply_hdf5_2048"
VIEWS = "ModelNet40-Images-180"
CLASSES = f"{POINTS}/shape_names.txt"

_MOST_ROWS = 10**6
"""Limit for the rows of a file, which can declare any number."""


def list_samples(config: ModelNet40Config, listing: SampleListing) -> None:
    """Add every row of the HDF5 files to the listing."""
    classes: list[str] = []
    if listing.has(CLASSES):
        classes = [line.strip() for _, line in listing.read_lines(CLASSES)]
    for split in listing.needed:
        for number in _find_numbers(listing, split):
            file = f"{POINTS}/ply_data_{split}{number}.h5"
            names = _read_names(listing, split, number)
            found = open_hdf5(listing, file)
            if found is None or names is None:
                continue
            with found:
                _add_all(listing, split, file, names, found, classes, config.image.of)


def _find_numbers(listing: SampleListing, split: SplitName) -> list[str]:
    """Return the numbers of a split's files, in their order."""
    try:
        names = listing.list_names(POINTS)
    except OSError as error:
        listing.add_fatal_issue(POINTS, f"cannot be read: {error.strerror}")
        return []
    pattern = re.compile(rf"ply_data_{split}([0-9]{{1,9}})\.h5")
    numbers = [match[1] for name in names if (match := pattern.fullmatch(name))]
    if not numbers:
        listing.add_fatal_issue(POINTS, f"has no ply_data_{split}0.h5")
    return sorted(numbers, key=int)


def _read_names(listing: SampleListing, split: SplitName, number: str) -> list[str] | None:
    """Read the names of a file's rows; None, with a fatal issue, if they cannot be read."""
    files = [f"{POINTS}/ply_data_{split}{between}{number}_id2file.json" for between in ("_", "")]
    file = next(filter(listing.has, files), files[0])
    if not listing.has(file):
        listing.add_fatal_issue(file, "does not exist")
        return None
    try:
        names = json.loads("\n".join(line for _, line in listing.read_lines(file)))
    except (ValueError, RecursionError):
        names = None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    listing.add_fatal_issue(file, "is not a JSON list of class/name.ply")
    return None


def _add_all(
    listing: SampleListing,
    split: SplitName,
    file: str,
    names: list[str],
    found: Any,
    classes: list[str],
    views: int,
) -> None:
    problem = ""
    rows = 0
    try:
        shape = get_array(found, "data").shape
        if len(shape) != 3 or shape[2] < 3:
            problem = f"'data' has shape {shape}; points must have shape (rows, points, 3)"
        rows = shape[0] if shape else 0
    except UnusableError as error:
        problem = str(error)
    if rows > _MOST_ROWS:
        listing.add_fatal_issue(file, f"'data' has {rows:,} rows")
        return
    labels = _read_labels(found, classes)
    for row in range(max(rows, len(names))):
        where = f"{file}: row {row}"
        if problem:
            listing.add_issue(split, where, problem)
        elif row >= rows:
            message = f"{names[row][:60]!r} is beyond the {rows} rows of 'data'"
            listing.add_issue(split, where, message)
        elif row >= len(names):
            message = f"has no name: its id2file.json has {len(names)} names for {rows} rows"
            listing.add_issue(split, where, message)
        else:
            points = SamplePart((file,), inside=f"data[{row}]")
            label = labels[row] if row < len(labels) else None
            _add(listing, split, where, names[row], label, points, views)


def _read_labels(found: Any, classes: Sequence[str]) -> list[str | None]:
    """Read the class of each row; an empty list if the file has none."""
    try:
        own = get_array(found, "label")
        labels = np.asarray(own[()] if own.size <= _MOST_ROWS else [])
    except (UnusableError, OSError):
        return []
    if not classes or labels.dtype.kind not in "iu":
        return []
    names = dict(enumerate(classes))
    return [names.get(label) for label in labels.reshape(-1).tolist()]


def _add(
    listing: SampleListing,
    split: SplitName,
    where: str,
    name: str,
    label: str | None,
    points: SamplePart,
    views: int,
) -> None:
    path = listing.resolve_path(name, where)
    if path is None:
        return
    first = strip_cells(path.split("/"), 2)
    if first is None or path.count("/") > 1:
        listing.add_issue(split, where, f"{name[:60]!r} is not class/name.ply")
        return
    own = first[0]
    item = first[1].removesuffix(".ply")
    if label not in (None, own):
        message = f"its label is {label!r} in {CLASSES}, but its name is {path!r}"
        listing.add_issue(split, where, message)
        return
    folder = f"{VIEWS}/{own}/{item}/{item}"
    image = SamplePart(tuple(f"{folder}.{view}.png" for view in range(views)))
    listing.add(split, Sample(where, f"{own}/{item}", own, {"image": image, "points": points}))
