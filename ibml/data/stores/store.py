"""Stores: arrays of many samples in files, written once and mapped into memory by all readers."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ibml.data.decoders.base import Array, DecodeError
from ibml.data.listing import DataError

RELEASE_BYTES = 64 * 2**20
"""Bytes after which a process releases the pages it has read; they stay in the system's cache."""

FILES = ("about.json", "values.bin", "shapes.npy", "first.npy")
"""Files of a store. The first one describes the others and is written last."""


class StoreWriter:
    """Writer of a store, which is complete only after `finish`.

    Args:
        folder: Folder to write to; it must not exist yet.
        dtype: Type of the values.
    """

    def __init__(self, folder: Path, dtype: type[np.generic]):
        self.folder = folder
        self.dtype = np.dtype(dtype)
        folder.mkdir(parents=True)
        self._file = (folder / "values.bin").open("wb")
        self._first = [0]
        self._shapes: list[tuple[int, ...]] = []
        self._bad: dict[int, str] = {}
        self.bytes = 0

    def append(self, arrays: Sequence[Array]) -> None:
        """Append the arrays of the next sample."""
        for array in arrays:
            values = np.ascontiguousarray(array, self.dtype)
            self._file.write(values.data)
            self._shapes.append(values.shape)
            self.bytes += values.nbytes
        self._first.append(len(self._shapes))

    def append_unusable(self, message: str) -> None:
        """Record that the next sample cannot be used, and why."""
        self._bad[len(self._first) - 1] = message
        self._first.append(len(self._shapes))

    def finish(self, target: Path, vocabulary: Iterable[str]) -> None:
        """Complete the store and move it to its final folder.

        Args:
            target: Final folder of the store. If another host has made the store in the meantime,
                that one stays.
            vocabulary: Words that the numbers of a text stand for.

        Raises:
            DecodeError: The samples have different numbers of axes.
        """
        self._file.close()
        axes = {len(shape) for shape in self._shapes}
        if len(axes) > 1:
            raise DecodeError(f"samples have different numbers of axes: {sorted(axes)}")
        shapes = np.array(self._shapes, np.int64).reshape(
            len(self._shapes), axes.pop() if axes else 1
        )
        np.save(self.folder / "shapes.npy", shapes)
        np.save(self.folder / "first.npy", np.array(self._first, np.int64))
        about = {
            "dtype": self.dtype.name,
            "bytes": self.bytes,
            "bad": self._bad,
            "vocabulary": list(vocabulary),
        }
        (self.folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
        try:
            self.folder.rename(target)
        except OSError:
            if not (target / "about.json").is_file():
                raise  # otherwise another host was faster, and its store has the same content

    def discard(self) -> None:
        """Remove the store if it is not finished."""
        self._file.close()
        remove_store(self.folder)


def remove_store(folder: Path) -> None:
    """Remove the files of a store, and its folder if that is empty then.

    Files that cannot be removed stay, without an error.
    """
    with suppress(OSError):
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


class Store:
    """Reader of a store.

    A sample has the arrays `first[row]` to `first[row + 1] - 1`.

    Args:
        folder: Folder of the store.

    Attributes:
        shapes: Shape of every array, shape (arrays, axes).
        first: Position of the first array of each sample, shape (samples + 1,).
        vocabulary: Words that the numbers of a text stand for.
        bad: Samples that cannot be used -> reason.

    Raises:
        DataError: The files are not as they were written.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
            self.shapes: npt.NDArray[np.int64] = np.load(folder / "shapes.npy", mmap_mode="r")
            self.first: npt.NDArray[np.int64] = np.load(folder / "first.npy")
            self.vocabulary: list[str] = about["vocabulary"]
            self._open(np.dtype(about["dtype"]), about["bytes"])
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"the cache {folder} is damaged ({error});"
                " run 'ibml data cache --clear' to remove the cache"
            ) from None
        self.bad = {int(row): message for row, message in about["bad"].items()}
        self._read = 0

    def _open(self, dtype: np.dtype[Any], expected: int) -> None:
        path = self.folder / "values.bin"
        if path.stat().st_size != expected:
            raise ValueError(f"values.bin has {path.stat().st_size} bytes, not {expected}")
        sizes = self.shapes.prod(axis=1)
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        if not expected:
            self._map = None
            self._flat = np.empty(0, dtype)
            return
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._flat = np.frombuffer(self._map, dtype)

    def __len__(self) -> int:
        return len(self.first) - 1

    def get_array(self, item: int) -> Array:
        """Return one array, read-only."""
        values = self._flat[self._starts[item] : self._starts[item + 1]]
        return values.reshape(self.shapes[item])

    @cached_property
    def is_even(self) -> bool:
        """True if all arrays have one shape."""
        return bool((self.shapes == self.shapes[:1]).all())

    def get_all(self) -> Array:
        """Return all arrays, (arrays, *shape), of a store whose arrays have one shape."""
        return self._flat.reshape(len(self.shapes), *self.shapes[0])

    def get_many(self, items: npt.NDArray[np.int64]) -> Array:
        """Return some arrays of one shape, (n, *shape); other arrays may have other shapes."""
        if self.is_even:
            return self.get_all()[items]
        return np.stack([self.get_array(int(item)) for item in items])

    @property
    def usual_shape(self) -> tuple[int, ...] | None:
        """Shape of most arrays; None if there are no arrays."""
        if not len(self.shapes):
            return None
        kinds, counts = np.unique(self.shapes, axis=0, return_counts=True)
        return tuple(kinds[counts.argmax()].tolist())

    def find_other_shapes(self, usual: tuple[int, ...] | None) -> dict[int, str]:
        """Find samples whose array has an unusual shape, in a store with one array per sample.

        Args:
            usual: The expected shape; None accepts every shape.

        Returns:
            Row of the sample -> reason why it cannot be used.
        """
        if usual is None or (len(usual) == self.shapes.shape[1] and (self.shapes == usual).all()):
            return {}
        reasons = {}
        for row in range(len(self)):
            if row in self.bad:
                continue
            shape = tuple(self.shapes[self.first[row]].tolist())
            if shape != usual:
                reasons[row] = f"has shape {shape}, not {usual}"
        return reasons

    def release_read_pages(self, count: int) -> None:
        """Count bytes that were read, and release mapped pages after `RELEASE_BYTES`.

        Mapped pages count as memory of the process, which would grow with every epoch.

        Args:
            count: Number of bytes read since the last call.
        """
        self._read += count
        if self._read < RELEASE_BYTES or self._map is None:
            return
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0
