"""Feeds: where a trainer takes its batches from."""

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
    """A split of n samples. `labels`, (n,), are on the trainer's device, as are the batches."""

    labels: Tensor
    specs: dict[str, InputSpec]

    def batches(
        self, indices: Iterable[Tensor], *where: str | int
    ) -> Iterator[tuple[Tensor, Inputs, Tensor]]:
        """For each batch of positions (on the CPU) these on the device, the inputs and the labels. What is drawn
        belongs to `where`, for instance an epoch, and the number of the batch."""


class ResidentFeed:
    """A split that is on the device as a whole."""

    def __init__(self, split: Split, device: torch.device, dtype: torch.dtype):
        self.inputs = {
            name: torch.from_numpy(values).to(device, dtype)
            for name, values in split.inputs.items()
        }
        self.labels = torch.from_numpy(split.labels).to(device)
        self.specs = split.specs

    def batches(
        self, indices: Iterable[Tensor], *where: str | int
    ) -> Iterator[tuple[Tensor, Inputs, Tensor]]:
        for chosen in indices:
            index = chosen.to(self.labels.device, non_blocking=True)
            yield (
                index,
                {name: values[index] for name, values in self.inputs.items()},
                self.labels[index],
            )


class StreamedFeed:
    """A split on disk, whose next batches are gathered by threads while the trainer is busy with one."""

    def __init__(
        self,
        split: StreamedSplit,
        device: torch.device,
        dtype: torch.dtype,
        seed: int,
        threads: int,
    ):
        self.split, self.dtype, self.seed, self.threads = split, dtype, seed, threads
        self.labels = torch.from_numpy(split.labels).to(device)
        self.specs = split.specs

    def batches(
        self, indices: Iterable[Tensor], *where: str | int
    ) -> Iterator[tuple[Tensor, Inputs, Tensor]]:
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
        inputs = gather_batch(
            self.split.transforms, self.split.rows[index.numpy()], self.seed, where
        )
        if self.labels.is_cuda:  # from pinned memory batches are copied while the device computes
            inputs = {
                name: _map_tensors(batch, Tensor.pin_memory) for name, batch in inputs.items()
            }
        return inputs

    def _move_to_device(
        self, index: Tensor, waiting: Future[dict[str, Input]]
    ) -> tuple[Tensor, Inputs, Tensor]:
        device, columns = self.labels.device, self.split.transforms
        inputs = {
            name: columns[name].finish(
                _map_tensors(batch, lambda values: values.to(device, non_blocking=True)), self.dtype
            )
            for name, batch in waiting.result().items()
        }
        place = index.to(device, non_blocking=True)
        return place, inputs, self.labels[place]


def _map_tensors(batch: Input, change: Callable[[Tensor], Tensor]) -> Input:
    return batch.map(change) if isinstance(batch, Sequences) else change(batch)


def build_feed(
    split: AnySplit, device: torch.device, dtype: torch.dtype, seed: int, threads: int
) -> Feed:
    """The feed of a split: small arrays live on the device, files are streamed."""
    if isinstance(split, StreamedSplit):
        return StreamedFeed(split, device, dtype, seed, threads)
    return ResidentFeed(split, device, dtype)
