"""Splits of a data set in files for one trial."""

from __future__ import annotations

import numpy as np
import torch

from ibml.common.rng import stream_seed
from ibml.config.datasets import FilesConfig, HoldoutConfig
from ibml.config.preprocessing import (
    AudioConfig,
    PicturesConfig,
    PointsConfig,
    RawImageConfig,
    TextConfig,
    VectorConfig,
    ViewsConfig,
)
from ibml.data.base import AnyTransform, Dataset, Indices, StreamedSplit, split_stratified
from ibml.data.files.file_dataset import FileDataset
from ibml.data.files.transforms import (
    ArrayTransform,
    ImageTransform,
    PointCloudTransform,
    RandomCropTransform,
    RandomViewTransform,
    TextTransform,
    VectorTransform,
    compute_moments,
)
from ibml.data.files.vector_file import load_word_vectors
from ibml.data.listing import DataError, SplitName
from ibml.data.stores.store import Store
from ibml.inputs import InputSpec


def load_splits(
    file_dataset: FileDataset, config: FilesConfig, modalities: tuple[str, ...], seed: int
) -> Dataset:
    """Load the splits of a trial.

    Args:
        file_dataset: Validated and decoded data set.
        config: Configuration of the data set.
        modalities: Modalities to load.
        seed: Seed of the trial. If the files have no validation split, it is drawn from train.

    Returns:
        Three streamed splits.

    Raises:
        DataError: Train has too few samples for a validation split.
    """
    train = np.arange(len(file_dataset.labels["train"]))
    val = np.arange(len(file_dataset.labels["val"]))
    test = np.arange(len(file_dataset.labels["test"]))
    val_source: SplitName = "val"
    if isinstance(config, HoldoutConfig) and not file_dataset.has_validation:
        generator = np.random.default_rng(stream_seed(seed, "split"))
        labels = file_dataset.labels["train"]
        val, train = split_stratified(labels, (config.validation,), generator)
        val_source = "train"
        if not len(val) or not len(train):
            raise DataError(f"{config.type}: {len(labels)} samples are too few to validate on some")
    builder = _TransformBuilder(file_dataset, config, seed, file_dataset.rows["train"][train])

    def build_split(split: SplitName, chosen: Indices, training: bool) -> StreamedSplit:
        transforms = {name: builder.build(name, split, training) for name in modalities}
        labels = file_dataset.labels[split][chosen]
        return StreamedSplit(transforms, labels, file_dataset.rows[split][chosen])

    return Dataset(
        file_dataset.classes,
        build_split("train", train, training=True),
        build_split(val_source, val, training=False),
        build_split("test", test, training=False),
    )


class _TransformBuilder:
    """Builds the batch transforms of one trial.

    Args:
        file_dataset: Validated and decoded data set.
        config: Configuration of the data set.
        seed: Seed of the trial.
        train: Rows of the training samples in the stores of train.
    """

    def __init__(self, file_dataset: FileDataset, config: FilesConfig, seed: int, train: Indices):
        self.stores = file_dataset.stores
        self.parts = config.parts
        self.seed = seed
        self.train = train

    def build(self, name: str, split: SplitName, training: bool) -> AnyTransform:
        part = self.parts[name]
        varied = self.stores.get((split, name, "varied")) if training else None
        match part:
            case PicturesConfig() if varied is not None:
                return RandomCropTransform(varied, part)
            case ViewsConfig() if varied is not None:
                return RandomViewTransform(varied, part)
            case PicturesConfig() | ViewsConfig():
                return ImageTransform(self._get_plain(split, name), part)
            case PointsConfig():
                fixed = None if training else stream_seed(self.seed, "augment", name, "evaluation")
                return PointCloudTransform(self._get_plain(split, name), part, fixed)
            case TextConfig():
                return self._build_text(self._get_plain(split, name), name, part)
            case VectorConfig():
                moments = None
                if part.standardise:
                    moments = compute_moments(self._get_plain("train", name), self.train)
                return VectorTransform(self._get_plain(split, name), moments)
            case AudioConfig() | RawImageConfig():
                return ArrayTransform(self._get_plain(split, name))
            case _:
                raise TypeError(f"there is no batch transform for {type(part).__name__}")

    def _get_plain(self, split: SplitName, name: str) -> Store:
        return self.stores[split, name, "plain"]

    def _build_text(self, store: Store, name: str, part: TextConfig) -> TextTransform:
        if part.tokenizer:
            return TextTransform(store, InputSpec((part.length,)), None)
        words, vectors = self._build_vocabulary(name, part)
        ids = {word: number for number, word in enumerate(words, 1)}
        stored_ids = np.array([ids.get(word, 0) for word in store.vocabulary], np.int64)
        return TextTransform(store, InputSpec((part.length,), words, vectors), stored_ids)

    def _build_vocabulary(
        self, name: str, part: TextConfig
    ) -> tuple[tuple[str, ...], torch.Tensor | None]:
        """Return the words that have an id, and their vectors if a file gives some.

        These are the words of the training rows, or the words of all splits that have a vector.
        """
        if part.vectors:
            every: set[str] = set()
            for (_, modality, _), text_store in self.stores.items():
                if modality == name:
                    every.update(text_store.vocabulary)
            words, vectors = load_word_vectors(part.vectors, every)
            return words, torch.from_numpy(vectors)
        store = self._get_plain("train", name)
        used: set[int] = set()
        for row in self.train:
            used.update(store.get_array(int(store.first[row])).tolist())
        stored = store.vocabulary
        return tuple(sorted(stored[number] for number in used if stored[number])), None
