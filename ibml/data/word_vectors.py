"""Word vectors of a text file (`word v1 .. vd`, as GloVe comes), read once and kept as arrays in the user's cache."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from ibml.config.contents import content_hash
from ibml.data.base import Floats
from ibml.data.cache import stores_folder
from ibml.data.listing import DataError
from ibml.files import replacing


def word_vectors(file: str, words: Collection[str]) -> tuple[tuple[str, ...], Floats]:
    """Those of the words that the file has, sorted, and their vectors (words + 1, d), a zero vector first.

    Raises `DataError` for a file that cannot be read.
    """
    known, matrix = _whole(Path(file))
    places = {word: place for place, word in enumerate(known)}
    found = tuple(sorted(word for word in words if word in places))
    if not found:
        raise DataError(f"{file} has no vector for any word of the data set")
    chosen = matrix[[places[word] for word in found]]
    return found, np.concatenate([np.zeros((1, matrix.shape[1]), np.float32), chosen])


def _whole(path: Path) -> tuple[list[str], Floats]:
    target = stores_folder() / f"words-{content_hash(path).removeprefix('sha256:')[:20]}.npz"
    if not target.is_file():
        words, matrix = _parsed(path)
        with replacing(target) as file:
            np.savez(file, words=np.frombuffer("\n".join(words).encode(), np.uint8), matrix=matrix)
    with np.load(target) as kept:
        return kept["words"].tobytes().decode().split("\n"), kept["matrix"]


def _parsed(path: Path) -> tuple[list[str], Floats]:
    words: list[str] = []
    rows: list[Floats] = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            word, _, rest = line.rstrip().partition(" ")
            values = np.fromstring(rest, np.float32, sep=" ")  # a word of several parts leaves fewer numbers
            if number == 1 and len(values) == 1:
                continue  # word2vec's header: how many words, and how long vectors are
            if not len(values) or (rows and len(values) != len(rows[0])):
                size = len(rows[0]) if rows else "some"
                raise DataError(f"{path}:{number}: {word[:40]!r} has {len(values)} numbers, not {size}")
            words.append(word)
            rows.append(values)
    return words, np.stack(rows)
