"""Source of UCI Multiple Features, whose data are part of the package (see LICENSE.txt)."""

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
    """Load the raw numbers of one view, shape (2000, columns)."""
    with np.load(_FILE) as stored:
        values = stored[f"{view}.mantissa"] / 10.0 ** stored[f"{view}.exponent"]
    return np.ascontiguousarray(values.T)


@cache
def load_labels() -> Labels:
    """Load the digits, shape (2000,)."""
    with np.load(_FILE) as stored:
        labels: Labels = stored["label"].astype(np.int64)
    return labels


@cache
def mfeat_fingerprint() -> str:
    """Return the SHA-256 digest of the file with all views."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


class MfeatSource(BuiltInSource):
    """Views of the digits, split by the seed and standardized by the training rows.

    Args:
        options: Configuration of the data set.
    """

    options: MfeatConfig

    def fingerprint(self) -> str:
        """Return the digest of the file with all views, which does not depend on the options."""
        return mfeat_fingerprint()

    def load(self, modalities: tuple[str, ...], seed: int) -> Dataset:
        """Load the three splits.

        The digits of a split do not depend on the views.

        Args:
            modalities: Views to load.
            seed: Seed of the trial, from which the split is drawn.

        Returns:
            The splits in memory.
        """
        labels = load_labels()
        generator = np.random.default_rng(stream_seed(seed, "split"))
        shares = (self.options.validation, self.options.test)
        val, test, train = split_stratified(labels, shares, generator)
        views = {view: standardize(load_view(view), train) for view in modalities}

        def build_split(rows: Indices) -> Split:
            return Split({view: values[rows] for view, values in views.items()}, labels[rows])

        return Dataset(
            tuple(map(str, range(10))), build_split(train), build_split(val), build_split(test)
        )
