"""Helpers for the layouts with HDF5 files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibml.common.optional_deps import import_optional
from ibml.data.listing import SampleListing


class UnusableError(ValueError):
    """Part of an HDF5 file that cannot be used."""


def open_hdf5(listing: SampleListing, file: str) -> Any | None:
    """Open an HDF5 file.

    Args:
        listing: Listing of the data set.
        file: Path of the file below the root.

    Returns:
        The `h5py.File`; None, with a fatal issue, if it cannot be read.
    """
    path = listing.root / file
    if not path.is_file():
        listing.add_fatal_issue(file, "does not exist")
        return None
    try:
        return import_optional("h5py", "points").File(path, "r")
    except OSError as error:
        message = "is not an HDF5 file, or damaged"
        if error.strerror:
            message = f"cannot be read: {error.strerror}"
        listing.add_fatal_issue(file, message)
    return None


def get_group(parent: Any, name: str) -> Any:
    """Return a group of an HDF5 file.

    Args:
        parent: File or group that contains the group.
        name: Name of the group.

    Returns:
        The `h5py.Group`.

    Raises:
        UnusableError: There is no such group, or it cannot be read.
    """
    h5py = import_optional("h5py", "points")
    return _get_child(parent, name, lambda found: isinstance(found, h5py.Group))


def get_array(parent: Any, name: str) -> Any:
    """Return an array of an HDF5 file.

    Args:
        parent: File or group that contains the array.
        name: Name of the array.

    Returns:
        The `h5py.Dataset`.

    Raises:
        UnusableError: There is no such array, it cannot be read, or its values are in other files.
    """
    h5py = import_optional("h5py", "points")

    def is_own_array(found: Any) -> bool:
        return isinstance(found, h5py.Dataset) and not (found.external or found.is_virtual)

    return _get_child(parent, name, is_own_array)


def _get_child(parent: Any, name: str, is_suitable: Callable[[Any], bool]) -> Any:
    h5py = import_optional("h5py", "points")
    try:
        # Links of other kinds may lead to other files.
        is_own = isinstance(parent.get(name, getlink=True), h5py.HardLink)
        found = parent[name] if is_own else None
    except (KeyError, OSError, RuntimeError, ValueError):
        raise UnusableError(f"{name!r} cannot be read") from None
    if found is None or not is_suitable(found):
        raise UnusableError(f"has no {name!r}")
    return found
