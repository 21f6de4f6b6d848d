"""The data set inside the package: UCI Multiple Features (see mfeat/LICENSE.txt)."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ibml.common.rng import stream_seed
from ibml.config.data import MfeatConfig
from ibml.data.base import Dataset, Indices, Labels, Split, standardised, stratified_split

_FILE = Path(__file__).parent / "mfeat" / "mfeat.npz"


@cache
def mfeat_view(view: str) -> npt.NDArray[np.float64]:
    """The raw numbers of one view, shape (2000, columns)."""
    with np.load(_FILE) as stored:
        return np.ascontiguousarray((stored[f"{view}.mantissa"] / 10.0 ** stored[f"{view}.exponent"]).T)


@cache
def mfeat_labels() -> Labels:
    """The digits, shape (2000,)."""
    with np.load(_FILE) as stored:
        labels: Labels = stored["label"].astype(np.int64)
    return labels


@cache
def mfeat_fingerprint() -> str:
    """SHA-256 of the file that all views come from."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


def load_mfeat(config: MfeatConfig, modalities: tuple[str, ...], seed: int) -> Dataset:
    """The views, split by the seed and standardised on the training rows. The split does not depend on
    the views, so every choice of views sees the same digits."""
    labels = mfeat_labels()
    generator = np.random.default_rng(stream_seed(seed, "split"))
    val, test, train = stratified_split(labels, (config.validation, config.test), generator)
    views = {view: standardised(mfeat_view(view), train) for view in modalities}

    def part(rows: Indices) -> Split:
        return Split({view: values[rows] for view, values in views.items()}, labels[rows])

    return Dataset(tuple(map(str, range(10))), part(train), part(val), part(test))
