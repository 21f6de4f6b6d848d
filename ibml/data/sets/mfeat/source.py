"""The data set inside the package: UCI Multiple Features (see LICENSE.txt)."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ibml.common.rng import stream_seed
from ibml.data.base import (
    BuiltInSource,
    Dataset,
    Indices,
    Labels,
    Split,
    split_stratified,
    standardize,
)
from ibml.data.sets.mfeat.config import MfeatConfig

_FILE = Path(__file__).with_name("mfeat.npz")


@cache
def load_view(view: str) -> npt.NDArray[np.float64]:
    """The raw numbers of one view, shape (2000, columns)."""
    with np.load(_FILE) as stored:
        return np.ascontiguousarray(
            (stored[f"{view}.mantissa"] / 10.0 ** stored[f"{view}.exponent"]).T
        )


@cache
def load_labels() -> Labels:
    """The digits, shape (2000,)."""
    with np.load(_FILE) as stored:
        labels: Labels = stored["label"].astype(np.int64)
    return labels


@cache
def mfeat_fingerprint() -> str:
    """SHA-256 of the file that all views come from."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


class MfeatSource(BuiltInSource):
    """Views of the digits, split by the seed and standardised on the training rows."""

    options: MfeatConfig

    def fingerprint(self) -> str:
        return mfeat_fingerprint()

    def load(self, modalities: tuple[str, ...], seed: int) -> Dataset:
        """Return the splits. They do not depend on the views, so every choice of views has the same digits."""
        labels = load_labels()
        generator = np.random.default_rng(stream_seed(seed, "split"))
        shares = (self.options.validation, self.options.test)
        val, test, train = split_stratified(labels, shares, generator)
        views = {view: standardize(load_view(view), train) for view in modalities}

        def part(rows: Indices) -> Split:
            return Split({view: values[rows] for view, values in views.items()}, labels[rows])

        return Dataset(tuple(map(str, range(10))), part(train), part(val), part(test))
