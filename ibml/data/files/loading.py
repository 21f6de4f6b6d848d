"""A data set in files, split for a trial."""

from __future__ import annotations

import numpy as np
import torch

from ibml.common.rng import stream_seed
from ibml.config.datasets import CarvedConfig, FilesConfig
from ibml.config.preprocessing import (
    AudioConfig,
    PicturesConfig,
    PointsConfig,
    RawImageConfig,
    TextConfig,
    VectorConfig,
    ViewsConfig,
)
from ibml.data.base import AnyColumn, Dataset, Indices, StreamedSplit, stratified_split
from ibml.data.files.columns import Clouds, Crops, Pixels, Plain, RandomViews, Texts, Vectors, moments
from ibml.data.files.opened import Opened
from ibml.data.files.word_vectors import word_vectors
from ibml.data.listing import DataError, SplitName
from ibml.data.stores.store import Store
from ibml.inputs import InputSpec


def split_for(opened: Opened, config: FilesConfig, modalities: tuple[str, ...], seed: int) -> Dataset:
    """The three splits; validation is carved from train by the seed where the data set has none."""
    train = np.arange(len(opened.labels["train"]))
    val = np.arange(len(opened.labels["val"]))
    source: SplitName = "val"
    if isinstance(config, CarvedConfig) and not opened.has_validation:
        generator = np.random.default_rng(stream_seed(seed, "split"))
        val, train = stratified_split(opened.labels["train"], (config.validation,), generator)
        source = "train"
        if not len(val) or not len(train):
            raise DataError(f"{config.type}: {len(opened.labels['train'])} samples are too few to validate on a part")
    build = _Columns(opened, config, seed, opened.rows["train"][train])

    def made(split: SplitName, chosen: Indices, training: bool) -> StreamedSplit:
        columns = {name: build.column(name, split, training) for name in modalities}
        return StreamedSplit(columns, opened.labels[split][chosen], opened.rows[split][chosen])

    test = np.arange(len(opened.labels["test"]))
    return Dataset(opened.classes, made("train", train, True), made(source, val, False), made("test", test, False))


class _Columns:
    """Makes the columns of one trial."""

    def __init__(self, opened: Opened, config: FilesConfig, seed: int, train: Indices):
        self.opened, self.parts, self.seed, self.train = opened, config.parts, seed, train

    def column(self, name: str, split: SplitName, training: bool) -> AnyColumn:
        part, stores = self.parts[name], self.opened.stores
        varied = stores.get((split, name, "varied")) if training else None
        match part:
            case PicturesConfig():
                return Crops(varied, part) if varied else Pixels(stores[split, name, "plain"], part)
            case ViewsConfig():
                return RandomViews(varied, part) if varied else Pixels(stores[split, name, "plain"], part)
            case PointsConfig():
                fixed = None if training else stream_seed(self.seed, "augment", name, "evaluation")
                return Clouds(stores[split, name, "plain"], part, fixed)
            case TextConfig():
                return self._texts(stores[split, name, "plain"], name, part)
            case VectorConfig():
                own = moments(stores["train", name, "plain"], self.train) if part.standardise else None
                return Vectors(stores[split, name, "plain"], own)
            case AudioConfig() | RawImageConfig():
                return Plain(stores[split, name, "plain"])
            case _:
                raise TypeError(f"no column is made of {type(part).__name__}")

    def _texts(self, store: Store, name: str, part: TextConfig) -> Texts:
        if part.tokenizer:
            return Texts(store, InputSpec((part.length,)), None)
        known, vectors = self._vocabulary(name, part)
        ids = {word: number for number, word in enumerate(known, 1)}
        numbers = np.array([ids.get(word, 0) for word in store.vocabulary], np.int64)
        return Texts(store, InputSpec((part.length,), known, vectors), numbers)

    def _vocabulary(self, name: str, part: TextConfig) -> tuple[tuple[str, ...], torch.Tensor | None]:
        """The words that have an id: those of the training rows, or those of all splits that have a vector."""
        if part.vectors:
            texts = [store for (_, modality, _), store in self.opened.stores.items() if modality == name]
            every = {word for store in texts for word in store.vocabulary}
            known, vectors = word_vectors(part.vectors, every)
            return known, torch.from_numpy(vectors)
        store = self.opened.stores["train", name, "plain"]
        words = store.vocabulary
        used: set[int] = set()
        for row in self.train:
            used.update(store.item(int(store.first[row])).tolist())
        return tuple(sorted(words[number] for number in used if words[number])), None
