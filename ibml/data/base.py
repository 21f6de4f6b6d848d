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
Draws = np.random.Generator
Progress = Callable[[str, int, int], None]
"""Called with a description of the current step, the number of finished items and their total."""

BatchT = TypeVar("BatchT", "torch.Tensor", "Sequences")


class BatchTransform(Protocol[BatchT]):
    """A modality's samples, by their rows in the stores; the batches of a column are all tensors, or all sequences."""

    spec: InputSpec

    def gather(self, rows: Indices, draws: Draws) -> BatchT:
        """The samples of these rows, on the CPU."""

    def finish(self, batch: BatchT, dtype: torch.dtype) -> BatchT:
        """What the encoder takes, on the batch's device."""


AnyTransform = BatchTransform[Any]


def ignore_progress(step: str, done: int, total: int) -> None:
    """Report nothing: the `Progress` of callers that show none."""


@dataclass(frozen=True)
class Split:
    """Aligned samples: `inputs[m]` of shape (n, ...) for each modality, `labels` of shape (n,)."""

    inputs: dict[str, Floats]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def specs(self) -> dict[str, InputSpec]:
        """The form of each modality's samples."""
        from ibml.inputs import InputSpec

        return {name: InputSpec(values.shape[1:]) for name, values in self.inputs.items()}


@dataclass(frozen=True)
class StreamedSplit:
    """Samples that stay on disk: a column per modality, `labels` of shape (n,), and their rows in the columns."""

    transforms: dict[str, AnyTransform]
    labels: Labels
    rows: Indices

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def specs(self) -> dict[str, InputSpec]:
        """The form of each modality's samples."""
        return {name: column.spec for name, column in self.transforms.items()}


AnySplit = Split | StreamedSplit


@dataclass(frozen=True)
class Dataset:
    """A data set, split for one seed. Class ids are positions in `classes`, which is sorted."""

    classes: tuple[str, ...]
    train: AnySplit
    val: AnySplit
    test: AnySplit


class Source(ABC):
    """A data set of another package; `ibml.config.plugins.plugin_config` says how it is named."""

    def __init__(self, options: Any):
        self.options = options

    @property
    @abstractmethod
    def kinds(self) -> dict[str, ModalityKind]:
        """Each modality's kind, in their order: vector, image, frames, audio, text or points."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of all samples and labels: other content must give another."""

    @abstractmethod
    def load(self, modalities: tuple[str, ...], seed: int) -> Dataset:
        """The three splits with these modalities; whatever is drawn for them follows from the seed."""


class BuiltInSource(Source):
    """A data set of ibml, whose options are its configuration.

    Unlike a plug-in it can be checked before training, and has notes for the records of trials.
    """

    options: BaseDataConfig

    @property
    def kinds(self) -> dict[str, ModalityKind]:
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
        """Return what a trial's record says about the data, by name."""
        return {}


def split_stratified(
    labels: Labels, shares: Sequence[float], generator: np.random.Generator
) -> list[Indices]:
    """Indices of disjoint parts, each with its share of every class; what is left over is the last part.

    A class's part is rounded to the nearest count. Indices of each part are in ascending order.
    """
    parts: list[list[Indices]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        cuts = np.rint(np.cumsum(shares) * len(members)).astype(int)
        for part, chunk in zip(parts, np.split(members, cuts), strict=True):
            part.append(chunk)
    return [np.sort(np.concatenate(part)) for part in parts]


def standardize(values: npt.NDArray[np.float64], train: Indices) -> Floats:
    """Columns with mean 0 and standard deviation 1 over the training rows; constant columns become 0."""
    mean = values[train].mean(axis=0)
    deviation = values[train].std(axis=0)
    scaled: Floats = ((values - mean) / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)
    return scaled
