"""Arrays of many samples in files: written once, one after another, and mapped into memory by all who read them."""

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
"""After reading so much, a process lets go of the pages that it has mapped; they stay in the system's cache."""


FILES = ("about.json", "values.bin", "shapes.npy", "first.npy")
"""The files of a store. The first describes the others and is written last."""


class StoreWriter:
    """Writes a store into a folder that must not be there yet. It is a store only once `finish` has come to its end."""

    def __init__(self, folder: Path, dtype: type[np.generic]):
        self.folder, self.dtype = folder, np.dtype(dtype)
        folder.mkdir(parents=True)
        self._file = (folder / "values.bin").open("wb")
        self._first, self._shapes = [0], list[tuple[int, ...]]()
        self._bad: dict[int, str] = {}
        self.bytes = 0

    def append(self, arrays: Sequence[Array]) -> None:
        """The next sample's arrays."""
        for array in arrays:
            values = np.ascontiguousarray(array, self.dtype)
            self._file.write(values.data)
            self._shapes.append(values.shape)
            self.bytes += values.nbytes
        self._first.append(len(self._shapes))

    def bad(self, message: str) -> None:
        """The next sample cannot be used."""
        self._bad[len(self._first) - 1] = message
        self._first.append(len(self._shapes))

    def finish(self, target: Path, vocabulary: Iterable[str]) -> None:
        """Close the store and give it its name. The vocabulary has the words that a text's numbers stand for."""
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
                raise  # else another host was faster, and its store has the same content

    def discard(self) -> None:
        self._file.close()
        remove_store(self.folder)


def remove_store(folder: Path) -> None:
    """Remove the files of a store, and its folder if nothing else is in it. Files out of reach stay."""
    with suppress(OSError):
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


class Store:
    """The arrays of a store by sample. Raises `DataError` where the files are not what was written."""

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
                f"the cache {folder} is damaged ({error}); 'ibml data cache --clear' removes it"
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
            self._map, self._flat = None, np.empty(0, dtype)
            return
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._flat = np.frombuffer(self._map, dtype)

    def __len__(self) -> int:
        return len(self.first) - 1

    def item(self, item: int) -> Array:
        """One array, read-only."""
        return self._flat[self._starts[item] : self._starts[item + 1]].reshape(self.shapes[item])

    @cached_property
    def even(self) -> bool:
        """Whether all arrays have one shape."""
        return bool((self.shapes == self.shapes[:1]).all())

    def all(self) -> Array:
        """All arrays, (items, *shape), where they have one shape."""
        return self._flat.reshape(len(self.shapes), *self.shapes[0])

    def some(self, items: npt.NDArray[np.int64]) -> Array:
        """These arrays, (n, *shape), which have one shape, though others may have another."""
        return (
            self.all()[items] if self.even else np.stack([self.item(int(item)) for item in items])
        )

    @property
    def usual_shape(self) -> tuple[int, ...] | None:
        """That of most arrays."""
        if not len(self.shapes):
            return None
        kinds, counts = np.unique(self.shapes, axis=0, return_counts=True)
        return tuple(kinds[counts.argmax()].tolist())

    def find_other_shapes(self, usual: tuple[int, ...] | None) -> dict[int, str]:
        """What is to be said of samples, of one array each, that have another shape."""
        if usual is None or (len(usual) == self.shapes.shape[1] and (self.shapes == usual).all()):
            return {}
        shapes = {
            row: tuple(self.shapes[self.first[row]].tolist())
            for row in range(len(self))
            if row not in self.bad
        }
        return {
            row: f"has shape {shape}, not {usual}"
            for row, shape in shapes.items()
            if shape != usual
        }

    def release_read_pages(self, count: int) -> None:
        """Keep this process from holding more and more of the file: mapped pages count as its memory."""
        self._read += count
        if self._read >= RELEASE_BYTES and self._map is not None and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0
