"""One modality of a split while it is trained on: samples out of stores, varied where training wants that.

`gather` gives a batch on the CPU, from draws that belong to the batch alone, so that it is the same whoever makes it
and whenever; `finish` is what is left to do where the batch is trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.common.rng import stream_seed
from ibml.config.preprocessing import FramesConfig, PicturesConfig, PointsConfig, ViewsConfig
from ibml.data.base import AnyTransform, Draws, Indices
from ibml.data.decoders.images import split_segments
from ibml.data.stores.store import Store
from ibml.inputs import Input, InputSpec, Sequences

ATTEMPTS = 10
"""How often a random crop is drawn before the middle is taken."""


class ArrayTransform:
    """Arrays as they are stored, (n, *shape)."""

    def __init__(self, store: Store):
        self.store = store
        self.spec = InputSpec(store.usual_shape or ())

    def gather(self, rows: Indices, draws: Draws) -> Tensor:
        values = self.store.some(self.store.first[rows])
        self.store.release_read_pages(values.nbytes)
        return torch.from_numpy(values)

    def finish(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        return batch.to(dtype)


class VectorTransform(ArrayTransform):
    """Vectors with the mean and deviation of the training rows taken off."""

    def __init__(
        self, store: Store, moments: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None
    ):
        super().__init__(store)
        self.moments = moments and tuple(map(torch.from_numpy, moments))

    def finish(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        if self.moments:
            mean, scale = (values.to(batch.device, non_blocking=True) for values in self.moments)
            batch = (batch - mean) * scale
        return batch.to(dtype)


def moments(store: Store, rows: Indices) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and 1 / standard deviation over rows, per column; constant columns become 0."""
    total, squares = (np.zeros(store.usual_shape or (), np.float64) for _ in range(2))
    chunks = np.array_split(store.first[rows], max(1, len(rows) // 4096))
    for chunk in chunks:
        total += store.some(chunk).sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    for chunk in chunks:
        squares += np.square(store.some(chunk) - mean).sum(axis=0)
    deviation = np.sqrt(squares / len(rows))
    scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
    return mean.astype(np.float32), scale.astype(np.float32)


class ImageTransform(ArrayTransform):
    """Pictures of one size, (n, ..., H, W, 3) bytes -> (n, 3, ..., H, W), normalised."""

    def __init__(self, store: Store, config: PicturesConfig | ViewsConfig):
        super().__init__(store)
        *inner, height, width, channels = self.spec.shape
        self._set(config, (channels, *inner, height, width))

    def _set(self, config: PicturesConfig | ViewsConfig, shape: tuple[int, ...]) -> None:
        self.spec = InputSpec(shape)
        self._scale = 1 / (255 * torch.tensor(config.std))
        self._shift = -torch.tensor(config.mean) / torch.tensor(config.std)

    def finish(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        channels = (-1, *[1] * (batch.dim() - 2))
        floats = batch.movedim(-1, 1).contiguous().float()  # moved while a number is a byte
        scale, shift = (
            part.to(batch.device, non_blocking=True).view(channels)
            for part in (self._scale, self._shift)
        )
        floats.mul_(scale).add_(shift)
        return floats.to(dtype)


class RandomCropTransform(ImageTransform):
    """Random parts of pictures, resized and flipped; of a clip's frames one out of each segment."""

    def __init__(self, store: Store, config: PicturesConfig):
        self.store, self.size = store, config.size
        self.count = config.count if isinstance(config, FramesConfig) else None
        inner = () if self.count is None else (self.count,)
        self._set(config, (3, *inner, config.size, config.size))

    def gather(self, rows: Indices, draws: Draws) -> Tensor:
        count = self.count or 1
        numbers = draws.random((len(rows), count, 2 * ATTEMPTS + 4))
        batch = torch.empty((len(rows) * count, self.size, self.size, 3), dtype=torch.uint8)
        for place, (row, own) in enumerate(zip(rows, numbers, strict=True)):
            first, last = self.store.first[row], self.store.first[row + 1]
            for number, (low, high) in enumerate(split_segments(int(last - first), count)):
                drawn = own[number]
                item = first + low + int(drawn[0] * (high - low))
                self._crop(int(item), drawn[1:], batch[place * count + number])
        return batch if self.count is None else batch.view(len(rows), count, *batch.shape[1:])

    def _crop(self, item: int, drawn: npt.NDArray[np.float64], out: Tensor) -> None:
        picture = self.store.item(item)
        top, left, height, width = crop_box(picture.shape[0], picture.shape[1], drawn[:-1])
        part = picture[top : top + height, left : left + width]
        self.store.release_read_pages(part.nbytes)
        pixels = torch.from_numpy(np.array(part)).permute(2, 0, 1)[None]
        made = F.interpolate(pixels, (self.size, self.size), mode="bilinear", antialias=True)[0]
        out.copy_((made.flip(2) if drawn[-1] < 0.5 else made).permute(1, 2, 0))


def crop_box(height: int, width: int, drawn: npt.NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part: 8 to 100 % of the area, aspect 3/4 to 4/3 (Szegedy et al. 2015).

    `drawn` has numbers in [0, 1): area and aspect of each attempt, then the place. Where no attempt fits, the largest
    part of an allowed aspect, in the middle.
    """
    pairs = drawn[: 2 * ATTEMPTS].reshape(ATTEMPTS, 2)
    areas = height * width * (0.08 + 0.92 * pairs[:, 0])
    aspects = np.exp(np.log(3 / 4) + (np.log(4 / 3) - np.log(3 / 4)) * pairs[:, 1])
    widths = np.rint(np.sqrt(areas * aspects)).astype(int)
    heights = np.rint(np.sqrt(areas / aspects)).astype(int)
    fits = np.flatnonzero((widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height))
    if len(fits):
        high, wide = int(heights[fits[0]]), int(widths[fits[0]])
        top, left = drawn[2 * ATTEMPTS :][:2]
        return int(top * (height - high + 1)), int(left * (width - wide + 1)), high, wide
    wide = min(width, max(1, round(height * 4 / 3)))
    high = min(height, max(1, round(width * 4 / 3)))
    return (height - high) // 2, (width - wide) // 2, high, wide


class RandomViewTransform(ImageTransform):
    """Distinct views out of all that an object has."""

    def __init__(self, store: Store, config: ViewsConfig):
        super().__init__(store, config)
        self.count = config.count
        channels, self.of, height, width = self.spec.shape
        self.spec = InputSpec((channels, config.count, height, width))

    def gather(self, rows: Indices, draws: Draws) -> Tensor:
        views = draws.random((len(rows), self.of)).argsort(axis=1)[:, : self.count]
        values = self.store.all()[self.store.first[rows][:, None], views]
        self.store.release_read_pages(values.nbytes)
        return torch.from_numpy(values)


class PointCloudTransform:
    """Points drawn from each cloud, (n, count, 3): anew at each visit in training, else always the same ones."""

    def __init__(self, store: Store, config: PointsConfig, fixed: int | None):
        self.store, self.config, self.fixed = store, config, fixed
        self.spec = InputSpec((config.count, 3))

    def gather(self, rows: Indices, draws: Draws) -> Tensor:
        count = self.config.count
        batch = np.empty((len(rows), count, 3), np.float32)
        for place, row in enumerate(rows):
            own = draws if self.fixed is None else np.random.default_rng((self.fixed, int(row)))
            cloud = self.store.item(int(self.store.first[row]))
            batch[place] = cloud[own.choice(len(cloud), count, replace=len(cloud) < count)]
            self.store.release_read_pages(cloud.nbytes)
        if self.fixed is None and self.config.augment:
            batch = augment_clouds(batch, draws)
        return torch.from_numpy(batch)

    def finish(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        return batch.to(dtype)


def augment_clouds(clouds: npt.NDArray[np.float32], draws: Draws) -> npt.NDArray[np.float32]:
    """Each cloud of (n, count, 3) scaled, turned about the vertical axis, shifted, and its points jittered."""
    n = len(clouds)
    scale = draws.uniform(2 / 3, 3 / 2, (n, 1, 3))
    shift = draws.uniform(-0.2, 0.2, (n, 1, 3))
    angle = draws.uniform(0, 2 * np.pi, n)
    turn = np.zeros((n, 3, 3))
    turn[:, 0, 0] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 0, 2], turn[:, 2, 0] = np.sin(angle), -np.sin(angle)
    turn[:, 1, 1] = 1
    jitter = np.clip(0.01 * draws.standard_normal(clouds.shape), -0.02, 0.02)
    changed: npt.NDArray[np.float32] = ((clouds * scale + shift) @ turn + jitter).astype(np.float32)
    return changed


class TextTransform:
    """Token ids, padded to the longest of a batch. `numbers` has the id of each stored number."""

    def __init__(self, store: Store, spec: InputSpec, numbers: npt.NDArray[np.int64] | None):
        self.store, self.spec, self.numbers = store, spec, numbers

    def gather(self, rows: Indices, draws: Draws) -> Sequences:
        texts = [self.store.item(int(item)) for item in self.store.first[rows]]
        lengths = np.array([len(text) for text in texts])
        batch = np.zeros((len(texts), lengths.max()), np.int64)
        for place, text in enumerate(texts):
            batch[place, : len(text)] = text if self.numbers is None else self.numbers[text]
        return Sequences(torch.from_numpy(batch), torch.from_numpy(lengths))

    def finish(self, batch: Sequences, dtype: torch.dtype) -> Sequences:
        return batch


def make_batch_generator(seed: int, *where: str | int) -> Draws:
    """The random numbers of one batch."""
    return np.random.default_rng(stream_seed(seed, "augment", *where))


def gather_batch(
    columns: Mapping[str, AnyTransform], rows: Indices, seed: int, where: Sequence[str | int]
) -> dict[str, Input]:
    """A batch of all modalities, each with draws of its own."""
    return {
        name: column.gather(rows, make_batch_generator(seed, name, *where))
        for name, column in columns.items()
    }
