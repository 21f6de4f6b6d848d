"""Word vectors from text files of lines `word v1 ... vd`, the format of GloVe and word2vec.

The vectors that a data set needs, out of millions, are kept in the user's cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from ibml.common.atomic_files import open_atomic
from ibml.common.hashing import hash_content
from ibml.data.base import Floats
from ibml.data.listing import DataError
from ibml.data.stores.cache import get_stores_folder


def load_word_vectors(file: str, words: Collection[str]) -> tuple[tuple[str, ...], Floats]:
    """Load the vectors of words, from the cache if they were loaded before.

    Args:
        file: Path of the text file.
        words: Words of the data set.

    Returns:
        The words that the file has, sorted, and their vectors of shape (words + 1, d). The first
        vector is zero and stands for every other word.

    Raises:
        DataError: The file has another format or none of the words, or the cache cannot be used.
    """
    path = Path(file)
    wanted = "\n".join(sorted(words)).encode()
    key = hashlib.sha256(hash_content(path).encode() + wanted).hexdigest()[:20]
    target = get_stores_folder() / f"words-{key}.npz"
    if not target.is_file():
        _write_cache(target, path, words)
    with np.load(target) as stored:
        return tuple(stored["words"].tobytes().decode().split("\n")), stored["matrix"]


def _write_cache(target: Path, path: Path, words: Collection[str]) -> None:
    vectors = _read_vectors(path, frozenset(words))
    known = sorted(vectors)
    unknown = np.zeros_like(vectors[known[0]])
    matrix = np.stack([unknown, *(vectors[word] for word in known)])
    encoded = np.frombuffer("\n".join(known).encode(), np.uint8)
    try:
        with open_atomic(target) as file:
            np.savez(file, words=encoded, matrix=matrix)
    except OSError as error:
        message = f"{path} could not be cached: {error}; set IBML_CACHE to another folder"
        raise DataError(message) from None


def _read_vectors(path: Path, words: frozenset[str]) -> dict[str, Floats]:
    """Read the vectors of some words, the only ones kept of a file of millions."""
    vectors: dict[str, Floats] = {}
    size = 0
    for number, parts in _read_parts(path):
        where = f"{path}:{number}"
        size = size or len(parts) - 1
        # The largest file of GloVe has words of several parts: at name@domain.com
        first = max(1, len(parts) - size)
        numbers = parts[first:]
        values = None
        try:
            word = b" ".join(parts[:first]).decode()
            if word in words:
                values = np.array(list(map(float, numbers)), np.float32)
        except ValueError as error:
            raise DataError(f"{where}: expected a word and its vector: {error}") from None
        if len(numbers) != size or not size:
            expected = size or "some"
            message = f"{where}: {word[:40]!r} has {len(numbers)} numbers, not {expected}"
            raise DataError(message)
        if values is None:
            continue
        if not np.isfinite(values).all():
            raise DataError(f"{where}: {word[:40]!r} has values that are not finite numbers")
        vectors[word] = values
    if not vectors:
        raise DataError(f"{path} has no vector for any word of the data set")
    return vectors


def _read_parts(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number and the parts of every line except empty ones and word2vec's header."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            parts = line.split()
            is_header = number == 1 and len(parts) == 2  # number of words, size of the vectors
            if parts and not is_header:
                yield number, parts
