"""Media that are arrays already: points, images in HDF5 files, vectors."""

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
"""Bytes of decompressed chunks that are kept of a file; rows are read one by one, and many share a chunk."""

_LARGEST = 2**28
"""Bytes of a sample's array in a HDF5 file."""


class _ArrayDecoder(Decoder):
    """One float32 array a sample."""

    dtype = np.float32

    def get_settings(self, form: Form) -> dict[str, Any]:
        return {"array": self.wire_name}

    def read(self, part: SamplePart, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        values = self.validate(read_array(part, root))
        if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
            raise DecodeError(f"has values of type {values.dtype}, not numbers")
        values = np.ascontiguousarray(values, np.float32)
        if not np.isfinite(values).all():
            raise DecodeError("has values that are no finite numbers")
        return {"plain": [values]}

    def validate(self, values: Array) -> Array:
        raise NotImplementedError


class PointsDecoder(_ArrayDecoder):
    """A cloud (n, 3); further columns, normals for instance, are left out."""

    wire_name = "Points"

    def validate(self, values: Array) -> Array:
        if values.ndim != 2 or values.shape[1] < 3:
            raise DecodeError(f"has shape {values.shape}, and points are (n, 3)")
        if not len(values):
            raise DecodeError("has no points")
        return values[:, :3]


class RawImageDecoder(_ArrayDecoder):
    """An image (3, H, W)."""

    wire_name = "RawImage"

    def validate(self, values: Array) -> Array:
        if values.ndim != 3 or values.shape[0] != 3:
            raise DecodeError(f"has shape {values.shape}, and an image is (3, H, W)")
        return values


class VectorDecoder(_ArrayDecoder):
    """A vector (d,)."""

    wire_name = "Vector"

    def validate(self, values: Array) -> Array:
        if values.ndim != 1 or not len(values):
            raise DecodeError(f"has shape {values.shape}, and a vector is (d,)")
        return values


def read_array(part: SamplePart, root: Path) -> Array:
    """The array of a part: numbers in a text, a .npy file, or a place in an HDF5 file."""
    if part.text is not None:
        return _parse_numbers(part.text)
    path = root / part.files[0]
    return _read_hdf5(path, part.inside) if part.inside else read_array_file(path)


def read_array_file(path: Path) -> Array:
    """The array in a .pkl or .npy file; raises `DecodeError`, `OSError`."""
    try:
        if path.suffix == ".pkl":
            return load_array(path)
        # unlike numpy.load it takes no archives, and does not believe in more values than the file has
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except (ValueError, OverflowError) as error:
        raise DecodeError(
            f"is no array of numbers: {str(error).removeprefix(f'{path}: ')}"
        ) from None


def _parse_numbers(text: str) -> Array:
    try:
        return np.array([float(word) for word in re.split(r"[\s,;]+", text.strip("[] \t")) if word])
    except ValueError as error:
        raise DecodeError(f"is no list of numbers: {error}") from None


def _read_hdf5(path: Path, place: str) -> Array:
    """`name/of/dataset`, or `name[i]`, the i-th row of one."""
    name, _, index = place.rstrip("]").partition("[")
    try:
        found = _open_hdf5(path, path.stat().st_mtime_ns)[name]
        _check_size(found, rows=bool(index))
        return np.asarray(found[int(index)] if index else found[()])
    except (KeyError, AttributeError, TypeError) as error:
        raise DecodeError(f"has no array {place!r}") from error
    except DecodeError:
        raise
    except (IndexError, ValueError, RuntimeError) as error:
        raise DecodeError(f"{place!r} cannot be read: {error}") from None


def _check_size(found: Any, rows: bool) -> None:
    """HDF5 files of some kilobytes can have arrays of any size."""
    shapes = [found.shape[1:] if rows else found.shape, found.chunks or ()]
    size = max(math.prod(shape) * found.dtype.itemsize for shape in shapes)
    if size > _LARGEST:
        raise DecodeError(
            f"has {size:,} bytes in a sample, more than the {_LARGEST:,} that are read"
        )


@lru_cache(maxsize=4)
def _open_hdf5(path: Path, changed: int) -> Any:
    """HDF5's own lock makes reading by several threads safe; opening it anew for every sample would take most time."""
    try:
        return import_optional("h5py", "points").File(path, "r", rdcc_nbytes=_CHUNKS)
    except OSError as error:
        if error.errno is not None:
            raise
        raise DecodeError(f"is no HDF5 file: {error}") from None
