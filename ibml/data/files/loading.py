"""A data set in files, split for a trial."""

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
    moments,
)
from ibml.data.files.vector_file import load_word_vectors
from ibml.data.listing import DataError, SplitName
from ibml.data.stores.store import Store
from ibml.inputs import InputSpec


def load_splits(
    file_dataset: FileDataset, config: FilesConfig, modalities: tuple[str, ...], seed: int
) -> Dataset:
    """The three splits; validation is carved from train by the seed where the data set has none."""
    train = np.arange(len(file_dataset.labels["train"]))
    val = np.arange(len(file_dataset.labels["val"]))
    source: SplitName = "val"
    if isinstance(config, HoldoutConfig) and not file_dataset.has_validation:
        generator = np.random.default_rng(stream_seed(seed, "split"))
        val, train = split_stratified(file_dataset.labels["train"], (config.validation,), generator)
        source = "train"
        if not len(val) or not len(train):
            raise DataError(
                f"{config.type}: {len(file_dataset.labels['train'])} samples are too few to validate on a part"
            )
    build = _TransformBuilder(file_dataset, config, seed, file_dataset.rows["train"][train])

    def build_split(split: SplitName, chosen: Indices, training: bool) -> StreamedSplit:
        columns = {name: build.build(name, split, training) for name in modalities}
        return StreamedSplit(
            columns, file_dataset.labels[split][chosen], file_dataset.rows[split][chosen]
        )

    test = np.arange(len(file_dataset.labels["test"]))
    return Dataset(
        file_dataset.classes,
        build_split("train", train, True),
        build_split(source, val, False),
        build_split("test", test, False),
    )


class _TransformBuilder:
    """Makes the columns of one trial."""

    def __init__(self, file_dataset: FileDataset, config: FilesConfig, seed: int, train: Indices):
        self.file_dataset, self.parts, self.seed, self.train = (
            file_dataset,
            config.parts,
            seed,
            train,
        )

    def build(self, name: str, split: SplitName, training: bool) -> AnyTransform:
        part, stores = self.parts[name], self.file_dataset.stores
        varied = stores.get((split, name, "varied")) if training else None
        match part:
            case PicturesConfig():
                return (
                    RandomCropTransform(varied, part)
                    if varied
                    else ImageTransform(stores[split, name, "plain"], part)
                )
            case ViewsConfig():
                return (
                    RandomViewTransform(varied, part)
                    if varied
                    else ImageTransform(stores[split, name, "plain"], part)
                )
            case PointsConfig():
                fixed = None if training else stream_seed(self.seed, "augment", name, "evaluation")
                return PointCloudTransform(stores[split, name, "plain"], part, fixed)
            case TextConfig():
                return self._build_text(stores[split, name, "plain"], name, part)
            case VectorConfig():
                own = (
                    moments(stores["train", name, "plain"], self.train)
                    if part.standardise
                    else None
                )
                return VectorTransform(stores[split, name, "plain"], own)
            case AudioConfig() | RawImageConfig():
                return ArrayTransform(stores[split, name, "plain"])
            case _:
                raise TypeError(f"no column is made of {type(part).__name__}")

    def _build_text(self, store: Store, name: str, part: TextConfig) -> TextTransform:
        if part.tokenizer:
            return TextTransform(store, InputSpec((part.length,)), None)
        known, vectors = self._build_vocabulary(name, part)
        ids = {word: number for number, word in enumerate(known, 1)}
        numbers = np.array([ids.get(word, 0) for word in store.vocabulary], np.int64)
        return TextTransform(store, InputSpec((part.length,), known, vectors), numbers)

    def _build_vocabulary(
        self, name: str, part: TextConfig
    ) -> tuple[tuple[str, ...], torch.Tensor | None]:
        """The words that have an id: those of the training rows, or those of all splits that have a vector."""
        if part.vectors:
            texts = [
                store
                for (_, modality, _), store in self.file_dataset.stores.items()
                if modality == name
            ]
            every = {word for store in texts for word in store.vocabulary}
            known, vectors = load_word_vectors(part.vectors, every)
            return known, torch.from_numpy(vectors)
        store = self.file_dataset.stores["train", name, "plain"]
        words = store.vocabulary
        used: set[int] = set()
        for row in self.train:
            used.update(store.item(int(store.first[row])).tolist())
        return tuple(sorted(words[number] for number in used if words[number])), None
