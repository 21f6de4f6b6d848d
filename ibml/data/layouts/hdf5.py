"""What the layouts with HDF5 files share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibml.common.optional_deps import import_optional
from ibml.data.listing import SampleListing


class UnusableError(ValueError):
    """Something in a file that cannot be used, and why."""


def open_hdf5(listing: SampleListing, file: str) -> Any | None:
    """An HDF5 file; none, and the data set refused, where it cannot be read."""
    path = listing.root / file
    if not path.is_file():
        listing.add_fatal_issue(file, "does not exist")
        return None
    try:
        return import_optional("h5py", "points").File(path, "r")
    except OSError as error:
        listing.add_fatal_issue(
            file,
            f"cannot be read: {error.strerror}"
            if error.strerror
            else "is no HDF5 file, or a damaged one",
        )
    return None


def get_group(parent: Any, name: str) -> Any:
    """The group of that name; raises `UnusableError`."""
    return _get_child(
        parent, name, lambda found: isinstance(found, import_optional("h5py", "points").Group)
    )


def get_array(parent: Any, name: str) -> Any:
    """The array of that name; raises `UnusableError`, also for one whose values lie in another file."""
    h5py = import_optional("h5py", "points")
    return _get_child(
        parent,
        name,
        lambda found: isinstance(found, h5py.Dataset) and not (found.external or found.is_virtual),
    )


def _get_child(parent: Any, name: str, suits: Callable[[Any], bool]) -> Any:
    try:
        there = isinstance(
            parent.get(name, getlink=True), import_optional("h5py", "points").HardLink
        )  # others may lead elsewhere
        found = parent[name] if there else None
    except (KeyError, OSError, RuntimeError, ValueError):
        raise UnusableError(f"{name!r} cannot be read") from None
    if found is None or not suits(found):
        raise UnusableError(f"has no {name!r}")
    return found
