"""What the layouts with HDF5 files share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ibml.common.optional_deps import need
from ibml.data.listing import Listing


class Unusable(ValueError):
    """Something in a file that cannot be used, and why."""


def opened(listing: Listing, file: str) -> Any | None:
    """An HDF5 file; none, and the data set refused, where it cannot be read."""
    path = listing.root / file
    if not path.is_file():
        listing.stop(file, "does not exist")
        return None
    try:
        return need("h5py", "points").File(path, "r")
    except OSError as error:
        listing.stop(
            file, f"cannot be read: {error.strerror}" if error.strerror else "is no HDF5 file, or a damaged one"
        )
    return None


def group(parent: Any, name: str) -> Any:
    """The group of that name; raises `Unusable`."""
    return _own(parent, name, lambda found: isinstance(found, need("h5py", "points").Group))


def array(parent: Any, name: str) -> Any:
    """The array of that name; raises `Unusable`, also for one whose values lie in another file."""
    h5py = need("h5py", "points")
    return _own(
        parent, name, lambda found: isinstance(found, h5py.Dataset) and not (found.external or found.is_virtual)
    )


def _own(parent: Any, name: str, suits: Callable[[Any], bool]) -> Any:
    try:
        there = isinstance(parent.get(name, getlink=True), need("h5py", "points").HardLink)  # others may lead elsewhere
        found = parent[name] if there else None
    except (KeyError, OSError, RuntimeError, ValueError):
        raise Unusable(f"{name!r} cannot be read") from None
    if found is None or not suits(found):
        raise Unusable(f"has no {name!r}")
    return found
