"""Decoders of content that consists of arrays: points, images in HDF5 files, vectors."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ibml.common.optional_deps import import_optional
from ibml.data.decoders.base import Array, DecodeError, Decoder, Form
from ibml.data.decoders.pickles import load_array
from ibml.data.listing import SamplePart

_CHUNKS = 2**26
"""Bytes of decompressed chunks cached per HDF5 file: rows are read singly and share chunks."""

_LARGEST = 2**28
"""Limit for the bytes of a sample's array in an HDF5 file."""


class _ArrayDecoder(Decoder):
    """One float32 array per sample."""

    dtype = np.float32

    def get_settings(self, form: Form) -> dict[str, Any]:
        """Return the wire name, since these decoders have no settings."""
        return {"array": self.wire_name}

    def decode(
        self, part: SamplePart, root: Path, forms: Sequence[Form]
    ) -> dict[Form, list[Array]]:
        """Read and validate one array, see `Decoder.decode`."""
        values = self.validate(read_array(part, root))
        if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
            raise DecodeError(f"has values of type {values.dtype}, not numbers")
        values = np.ascontiguousarray(values, np.float32)
        if not np.isfinite(values).all():
            raise DecodeError("has values that are not finite numbers")
        return {"plain": [values]}

    def validate(self, values: Array) -> Array:
        """Check the shape and return the values to store; raises `DecodeError`."""
        raise NotImplementedError


class PointsDecoder(_ArrayDecoder):
    """Point clouds (n, 3). Further columns, for instance normals, are dropped."""

    wire_name = "Points"

    def validate(self, values: Array) -> Array:
        """Check the shape and return the coordinates; raises `DecodeError`."""
        if values.ndim != 2 or values.shape[1] < 3:
            raise DecodeError(f"has shape {values.shape}; points must have shape (n, 3)")
        if not len(values):
            raise DecodeError("has no points")
        return values[:, :3]


class RawImageDecoder(_ArrayDecoder):
    """Images (3, H, W) that are arrays of numbers."""

    wire_name = "RawImage"

    def validate(self, values: Array) -> Array:
        """Check the shape; raises `DecodeError`."""
        if values.ndim != 3 or values.shape[0] != 3:
            raise DecodeError(f"has shape {values.shape}; an image must have shape (3, H, W)")
        return values


class VectorDecoder(_ArrayDecoder):
    """Vectors (d,)."""

    wire_name = "Vector"

    def validate(self, values: Array) -> Array:
        """Check the shape; raises `DecodeError`."""
        if values.ndim != 1 or not len(values):
            raise DecodeError(f"has shape {values.shape}; a vector must have shape (d,)")
        return values


def read_array(part: SamplePart, root: Path) -> Array:
    """Read the array of a part.

    Args:
        part: Numbers in a text, a .npy or .pkl file, or a place in an HDF5 file.
        root: Folder of the data set.

    Returns:
        The array as it is stored.

    Raises:
        DecodeError: The content is not an array of numbers.
        OSError: The file cannot be read.
    """
    if part.text is not None:
        return _parse_numbers(part.text)
    path = root / part.files[0]
    return _read_hdf5(path, part.inside) if part.inside else read_array_file(path)


def read_array_file(path: Path) -> Array:
    """Read the array in a .pkl or .npy file.

    Args:
        path: Path of the file, whose suffix tells the format.

    Returns:
        The array.

    Raises:
        DecodeError: The file is not an array of numbers.
        OSError: The file cannot be read.
    """
    try:
        if path.suffix == ".pkl":
            return load_array(path)
        # Unlike numpy.load this accepts no archives, and no header that declares more values
        # than the file has.
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except (ValueError, OverflowError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise DecodeError(f"is not an array of numbers: {reason}") from None


def _parse_numbers(text: str) -> Array:
    try:
        return np.array([float(word) for word in re.split(r"[\s,;]+", text.strip("[] \t")) if word])
    except ValueError as error:
        raise DecodeError(f"is not a list of numbers: {error}") from None


def _read_hdf5(path: Path, place: str) -> Array:
    """Read `name/of/dataset`, or `name[i]`, row i of a dataset."""
    name, _, index = place.rstrip("]").partition("[")
    try:
        found = _open_hdf5(path, path.stat().st_mtime_ns)[name]
        _check_size(found, is_row=bool(index))
        return np.asarray(found[int(index)] if index else found[()])
    except (KeyError, AttributeError, TypeError) as error:
        raise DecodeError(f"has no array {place!r}") from error
    except DecodeError:
        raise
    except (IndexError, ValueError, RuntimeError) as error:
        raise DecodeError(f"{place!r} cannot be read: {error}") from None


def _check_size(found: Any, is_row: bool) -> None:
    """Refuse large arrays, since an HDF5 file of some kilobytes can declare any size."""
    shapes = [found.shape[1:] if is_row else found.shape, found.chunks or ()]
    size = max(math.prod(shape) * found.dtype.itemsize for shape in shapes)
    if size > _LARGEST:
        raise DecodeError(f"has {size:,} bytes in a sample; at most {_LARGEST:,} are read")


@lru_cache(maxsize=4)
def _open_hdf5(path: Path, modified: int) -> Any:
    """Open an HDF5 file once for all its samples, since opening takes most of the time.

    HDF5's own lock makes reading by several threads safe. The time of modification is part of the
    cache's key.
    """
    try:
        return import_optional("h5py", "points").File(path, "r", rdcc_nbytes=_CHUNKS)
    except OSError as error:
        if error.errno is not None:
            raise
        raise DecodeError(f"is not an HDF5 file: {error}") from None
