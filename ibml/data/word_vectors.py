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
        try:
            with replacing(target) as file:
                np.savez(file, words=np.frombuffer("\n".join(words).encode(), np.uint8), matrix=matrix)
        except OSError as error:
            raise DataError(f"{path} could not be cached: {error}; IBML_CACHE names another folder") from None
    with np.load(target) as kept:
        return kept["words"].tobytes().decode().split("\n"), kept["matrix"]


def _parsed(path: Path) -> tuple[list[str], Floats]:
    """Raises `DataError` for a file that is not of this form."""
    words: list[str] = []
    rows: list[Floats] = []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            parts = line.split()
            if not parts or (number == 1 and len(parts) == 2):
                continue  # 2 parts are word2vec's header: how many words, and how long vectors are
            size = len(rows[0]) if rows else len(parts) - 1
            first = max(1, len(parts) - size)  # GloVe's largest file has words of several parts: at name@domain.com
            try:
                words.append(b" ".join(parts[:first]).decode())
                values = np.array(list(map(float, parts[first:])), np.float32)
            except ValueError as error:
                raise DataError(f"{path}:{number}: is no word and its numbers: {error}") from None
            if len(values) != size or not size:
                raise DataError(f"{path}:{number}: {words[-1][:40]!r} has {len(values)} numbers, not {size or 'some'}")
            if not np.isfinite(values).all():
                raise DataError(f"{path}:{number}: {words[-1][:40]!r} has values that are no finite numbers")
            rows.append(values)
    if not rows:
        raise DataError(f"{path} has no word vectors")
    return words, np.stack(rows)
