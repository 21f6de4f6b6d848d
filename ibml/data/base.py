"""Interface between data sets and the trainer: three splits of aligned modalities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ibml.config.preprocessing import ModalityKind

if TYPE_CHECKING:
    import torch

    from ibml.config.datasets import BaseDataConfig
    from ibml.inputs import InputSpec, Sequences

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]
Progress = Callable[[str, int, int], None]
"""Called with a description of the current step, the number of finished items and their total."""

BatchT = TypeVar("BatchT", "torch.Tensor", "Sequences")


class BatchTransform(Protocol[BatchT]):
    """Batches of one modality, made from its stored samples.

    A transform works in two steps: `gather` runs on the CPU in a loader thread, `finish` on the
    trainer's device. All batches of one transform are tensors, or all are `Sequences`.
    """

    spec: InputSpec

    def gather(self, rows: Indices, generator: np.random.Generator) -> BatchT:
        """Read a batch from the store and augment it.

        Args:
            rows: Rows of the samples in the store, shape (n,).
            generator: Source of the augmentations' random numbers.

        Returns:
            The batch on the CPU, n samples in the order of `rows`.
        """

    def finish(self, batch: BatchT, dtype: torch.dtype) -> BatchT:
        """Convert a batch into the encoder's input on the batch's device.

        Args:
            batch: Result of `gather`, possibly moved to another device.
            dtype: Floating-point type of the result; token ids keep their type.

        Returns:
            The encoder's input.
        """


AnyTransform = BatchTransform[Any]


def ignore_progress(step: str, done: int, total: int) -> None:
    """Do nothing: the `Progress` of callers that show none."""


@dataclass(frozen=True)
class Split:
    """Aligned samples in memory.

    Attributes:
        inputs: Samples by modality, each of shape (n, ...).
        labels: Class ids, shape (n,).
    """

    inputs: dict[str, Floats]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def specs(self) -> dict[str, InputSpec]:
        """Form of the samples by modality."""
        from ibml.inputs import InputSpec

        return {name: InputSpec(values.shape[1:]) for name, values in self.inputs.items()}


@dataclass(frozen=True)
class StreamedSplit:
    """Aligned samples that stay on disk.

    Attributes:
        transforms: Batch transform by modality.
        labels: Class ids, shape (n,).
        rows: Rows of the samples in the stores of all modalities, shape (n,).
    """

    transforms: dict[str, AnyTransform]
    labels: Labels
    rows: Indices

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def specs(self) -> dict[str, InputSpec]:
        """Form of the samples by modality."""
        return {name: transform.spec for name, transform in self.transforms.items()}


AnySplit = Split | StreamedSplit


@dataclass(frozen=True)
class Dataset:
    """A data set, split for one seed. Class ids are positions in `classes`, which is sorted."""

    classes: tuple[str, ...]
    train: AnySplit
    val: AnySplit
    test: AnySplit


class Source(ABC):
    """Base class of data sets, for those of ibml and of plug-in packages.

    A subclass may have a nested class `Options`, a `Config` whose fields are the options of the
    data set. `ibml.config.plugins.plugin_config` describes how a configuration names a plug-in.

    Args:
        options: Options of the data set, validated.

    Example:
        >>> import hashlib
        >>> import numpy as np
        >>> from ibml.config.base import Config
        >>> from ibml.data.base import Dataset, Source, Split, split_stratified
        >>> class Noise(Source):
        ...     '''Two modalities of random vectors with random labels.'''
        ...
        ...     class Options(Config):
        ...         samples: int = 100
        ...
        ...     @property
        ...     def kinds(self):
        ...         return {"left": "vector", "right": "vector"}
        ...
        ...     def fingerprint(self):
        ...         return hashlib.sha256(f"noise {self.options.samples}".encode()).hexdigest()
        ...
        ...     def load(self, modalities, seed):
        ...         count = self.options.samples
        ...         content = np.random.default_rng(0)  # the same samples for every seed
        ...         labels = content.integers(2, size=count)
        ...         left, right = content.normal(size=(2, count, 8)).astype(np.float32)
        ...         values = {"left": left, "right": right}
        ...         generator = np.random.default_rng(seed)
        ...         val, test, train = split_stratified(labels, (0.1, 0.3), generator)
        ...
        ...         def build_split(rows):
        ...             inputs = {name: values[name][rows] for name in modalities}
        ...             return Split(inputs, labels[rows])
        ...
        ...         return Dataset(("a", "b"), *map(build_split, (train, val, test)))
        >>> source = Noise(Noise.Options(samples=50))
        >>> dataset = source.load(("left",), seed=1)
        >>> sum(map(len, (dataset.train, dataset.val, dataset.test)))
        50
        >>> dataset.train.specs["left"].shape
        (8,)
    """

    def __init__(self, options: Any):
        self.options = options

    @property
    @abstractmethod
    def kinds(self) -> dict[str, ModalityKind]:
        """Kind of each modality: vector, image, frames, audio, text or points.

        The order of the modalities is the order in which a model sees them by default.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of all samples and labels.

        Results are reused by this hash, so different content must have a different hash.
        """

    @abstractmethod
    def load(self, modalities: tuple[str, ...], seed: int) -> Dataset:
        """Load the three splits.

        Args:
            modalities: Modalities to load, some or all of `kinds`.
            seed: Seed of the trial; everything random must depend on it alone.

        Returns:
            The splits, with exactly these modalities.
        """


class BuiltInSource(Source):
    """Base class of the data sets of ibml, whose options are their configuration.

    In contrast to a plug-in, a built-in data set can be checked before training, and describes
    itself in the records of trials.

    Args:
        options: Configuration of the data set.
    """

    options: BaseDataConfig

    @property
    def kinds(self) -> dict[str, ModalityKind]:
        """Kind of each modality."""
        return self.options.all_kinds

    def prepare(self, say: Callable[[str], None], progress: Progress) -> None:
        """Check the data set and decode what is not in the cache, so that trials need not.

        Args:
            say: Called with every message for the user.
            progress: Called while files are read and decoded.

        Raises:
            DataError: The data set does not exist or has samples that cannot be used.
        """

    def describe(self) -> dict[str, str]:
        """Return the entries of a trial's record that describe the data, by name."""
        return {}


def split_stratified(
    labels: Labels, shares: Sequence[float], generator: np.random.Generator
) -> list[Indices]:
    """Split samples at random into disjoint parts with equal class frequencies.

    The size of a class in a part is rounded to the nearest integer.

    Args:
        labels: Class ids, shape (n,).
        shares: Share of each class in every part except the last.
        generator: Source of random numbers.

    Returns:
        Sorted indices of the samples of each part. The last part, which has no entry in `shares`,
        has the remaining samples.
    """
    parts: list[list[Indices]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        cuts = np.rint(np.cumsum(shares) * len(members)).astype(int)
        for part, chunk in zip(parts, np.split(members, cuts), strict=True):
            part.append(chunk)
    return [np.sort(np.concatenate(part)) for part in parts]


def standardize(values: npt.NDArray[np.float64], train: Indices) -> Floats:
    """Scale columns to mean 0 and standard deviation 1 over the training rows.

    Args:
        values: Samples, shape (n, columns).
        train: Indices of the training rows.

    Returns:
        All rows scaled; columns that are constant in the training rows become 0.
    """
    mean = values[train].mean(axis=0)
    deviation = values[train].std(axis=0)
    scaled: Floats = ((values - mean) / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)
    return scaled
