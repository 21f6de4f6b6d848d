"""Feeds: batches of a split on the trainer's device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

from ibml.data.base import AnySplit, Split, StreamedSplit
from ibml.data.files.transforms import gather_batch
from ibml.inputs import Input, InputSpec, Sequences

Inputs = Mapping[str, Input]


class Feed(Protocol):
    """Batches of a split of n samples.

    Attributes:
        labels: Class ids on the trainer's device, shape (n,).
        specs: Form of the samples by modality.
    """

    labels: Tensor
    specs: dict[str, InputSpec]

    def batches(
        self, indices: Iterable[Tensor], *where: str | int
    ) -> Iterator[tuple[Tensor, Inputs, Tensor]]:
        """Iterate over batches on the trainer's device.

        Args:
            indices: Positions of each batch's samples in the split, on the CPU.
            *where: Name of the pass, for instance the epoch. Augmentations are drawn from a random
                stream named by this and the number of the batch.

        Returns:
            Iterator of positions, inputs by modality, and labels of each batch.
        """


class ResidentFeed:
    """Feed of a split that is on the device as a whole.

    Args:
        split: Samples in memory.
        device: Device of the trainer.
        dtype: Floating-point type of the inputs.
    """

    def __init__(self, split: Split, device: torch.device, dtype: torch.dtype):
        self.inputs: dict[str, Tensor] = {}
        for name, values in split.inputs.items():
            self.inputs[name] = torch.from_numpy(values).to(device, dtype)
        self.labels = torch.from_numpy(split.labels).to(device)
        self.specs = split.specs

    def batches(
        self, indices: Iterable[Tensor], *where: str | int
    ) -> Iterator[tuple[Tensor, Inputs, Tensor]]:
        """Yield batches of the resident tensors, see `Feed.batches`."""
        for chosen in indices:
            index = chosen.to(self.labels.device, non_blocking=True)
            inputs = {name: values[index] for name, values in self.inputs.items()}
            yield index, inputs, self.labels[index]


class StreamedFeed:
    """Feed of a split on disk. Threads gather the next batches while the trainer uses one.

    Args:
        split: Samples on disk.
        device: Device of the trainer.
        dtype: Floating-point type of the inputs.
        seed: Seed of the trial, from which augmentations are drawn.
        threads: Number of threads, and of batches that are gathered in advance.
    """

    def __init__(
        self,
        split: StreamedSplit,
        device: torch.device,
        dtype: torch.dtype,
        seed: int,
        threads: int,
    ):
        self.split = split
        self.dtype = dtype
        self.seed = seed
        self.threads = threads
        self.labels = torch.from_numpy(split.labels).to(device)
        self.specs = split.specs

    def batches(
        self, indices: Iterable[Tensor], *where: str | int
    ) -> Iterator[tuple[Tensor, Inputs, Tensor]]:
        """Yield batches in the order of `indices`, see `Feed.batches`."""
        with ThreadPoolExecutor(self.threads) as pool:
            ahead: deque[tuple[Tensor, Future[dict[str, Input]]]] = deque()
            try:
                for number, index in enumerate(indices):
                    ahead.append((index, pool.submit(self._gather, index, (*where, number))))
                    if len(ahead) > self.threads:
                        yield self._move_to_device(*ahead.popleft())
                while ahead:
                    yield self._move_to_device(*ahead.popleft())
            finally:
                for _, waiting in ahead:
                    waiting.cancel()

    def _gather(self, index: Tensor, where: tuple[str | int, ...]) -> dict[str, Input]:
        rows = self.split.rows[index.numpy()]
        inputs = gather_batch(self.split.transforms, rows, self.seed, where)
        if not self.labels.is_cuda:
            return inputs
        # Copies from pinned memory overlap with the device's computation.
        return {name: _map_tensors(batch, Tensor.pin_memory) for name, batch in inputs.items()}

    def _move_to_device(
        self, index: Tensor, waiting: Future[dict[str, Input]]
    ) -> tuple[Tensor, Inputs, Tensor]:
        device = self.labels.device

        def move(values: Tensor) -> Tensor:
            return values.to(device, non_blocking=True)

        inputs: dict[str, Input] = {}
        for name, batch in waiting.result().items():
            moved = _map_tensors(batch, move)
            inputs[name] = self.split.transforms[name].finish(moved, self.dtype)
        positions = move(index)
        return positions, inputs, self.labels[positions]


def _map_tensors(batch: Input, change: Callable[[Tensor], Tensor]) -> Input:
    return batch.map(change) if isinstance(batch, Sequences) else change(batch)


def build_feed(
    split: AnySplit, device: torch.device, dtype: torch.dtype, seed: int, threads: int
) -> Feed:
    """Build the feed of a split: arrays are kept on the device, files are streamed.

    Args:
        split: Samples in memory or on disk.
        device: Device of the trainer.
        dtype: Floating-point type of the inputs.
        seed: Seed of the trial, from which augmentations are drawn.
        threads: Number of loader threads of a streamed split.

    Returns:
        A `StreamedFeed` for a `StreamedSplit`, else a `ResidentFeed`.
    """
    if isinstance(split, StreamedSplit):
        return StreamedFeed(split, device, dtype, seed, threads)
    return ResidentFeed(split, device, dtype)
