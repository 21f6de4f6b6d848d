"""Word vectors of a text file (`word v1 .. vd`, as GloVe comes). Those that a data set needs, out of millions, are kept
in the user's cache."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ibml.common.atomic_files import open_atomic
from ibml.common.hashing import hash_content
from ibml.data.base import Floats
from ibml.data.listing import DataError
from ibml.data.stores.cache import get_stores_folder


def load_word_vectors(file: str, words: Collection[str]) -> tuple[tuple[str, ...], Floats]:
    """Those of the words that the file has, sorted, and their vectors (words + 1, d), a zero vector first.

    Raises `DataError` for a file that cannot be read.
    """
    path, wanted = Path(file), "\n".join(sorted(words)).encode()
    name = hashlib.sha256(hash_content(path).encode() + wanted).hexdigest()[:20]
    target = get_stores_folder() / f"words-{name}.npz"
    if not target.is_file():
        found = _read_vectors(path, frozenset(words))
        known = sorted(found)
        matrix = np.stack(
            [np.zeros_like(next(iter(found.values()))), *(found[word] for word in known)]
        )
        try:
            with open_atomic(target) as kept:
                np.savez(
                    kept, words=np.frombuffer("\n".join(known).encode(), np.uint8), matrix=matrix
                )
        except OSError as error:
            raise DataError(
                f"{path} could not be cached: {error}; IBML_CACHE names another folder"
            ) from None
    with np.load(target) as stored:
        return tuple(stored["words"].tobytes().decode().split("\n")), stored["matrix"]


def _read_vectors(path: Path, words: frozenset[str]) -> dict[str, Floats]:
    """The vectors of these words, of which the file has a million others. Raises `DataError` for a file that is not of
    this form."""
    found: dict[str, Floats] = {}
    size = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            parts = line.split()
            if not parts or (number == 1 and len(parts) == 2):
                continue  # 2 parts are word2vec's header: how many words, and how long vectors are
            size = size or len(parts) - 1
            first = max(
                1, len(parts) - size
            )  # GloVe's largest file has words of several parts: at name@domain.com
            try:
                word = b" ".join(parts[:first]).decode()
                values = (
                    np.array(list(map(float, parts[first:])), np.float32) if word in words else None
                )
            except ValueError as error:
                raise DataError(f"{path}:{number}: is no word and its numbers: {error}") from None
            if len(parts) - first != size or not size:
                raise DataError(
                    f"{path}:{number}: {word[:40]!r} has {len(parts) - first} numbers, not {size or 'some'}"
                )
            if values is None:
                continue
            if not np.isfinite(values).all():
                raise DataError(
                    f"{path}:{number}: {word[:40]!r} has values that are no finite numbers"
                )
            found[word] = values
    if not found:
        raise DataError(f"{path} has no vector for any word of the data set")
    return found
