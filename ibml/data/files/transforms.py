"""Batch transforms: batches of one modality, read from a store and augmented in training.

`gather` makes a batch on the CPU. Its random numbers come from a generator of this batch alone, so
the batch does not depend on the thread that makes it or on the order of batches. `finish` runs on
the trainer's device.
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
from ibml.data.base import AnyTransform, Indices
from ibml.data.decoders.images import split_segments
from ibml.data.stores.store import Store
from ibml.inputs import Input, InputSpec, Sequences

ATTEMPTS = 10
"""Number of draws of a random crop before the center is taken."""

Moments = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Mean and 1 / standard deviation of each column."""


class ArrayTransform:
    """Arrays as they are stored, (n, *shape).

    Args:
        store: Store of arrays of one shape.
    """

    def __init__(self, store: Store):
        self.store = store
        self.spec = InputSpec(store.usual_shape or ())

    def gather(self, rows: Indices, generator: np.random.Generator) -> Tensor:
        """Read the arrays of a batch."""
        values = self.store.get_many(self.store.first[rows])
        self.store.release_read_pages(values.nbytes)
        return torch.from_numpy(values)

    def finish(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        """Cast the batch."""
        return batch.to(dtype)


class VectorTransform(ArrayTransform):
    """Vectors, standardized by moments of the training rows.

    Args:
        store: Store of vectors.
        moments: Moments of the training rows; None to leave vectors as they are.
    """

    def __init__(self, store: Store, moments: Moments | None):
        super().__init__(store)
        self.moments = moments and tuple(map(torch.from_numpy, moments))

    def finish(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        """Standardize and cast the batch."""
        if self.moments:
            mean, scale = (values.to(batch.device, non_blocking=True) for values in self.moments)
            batch = (batch - mean) * scale
        return batch.to(dtype)


def compute_moments(store: Store, rows: Indices) -> Moments:
    """Compute the moments of each column over some rows, in chunks.

    Args:
        store: Store of vectors.
        rows: Rows to use.

    Returns:
        Mean and 1 / standard deviation; the latter is 0 for a constant column, which thus becomes 0
        when standardized.
    """
    total = np.zeros(store.usual_shape or (), np.float64)
    squares = np.zeros_like(total)
    chunks = np.array_split(store.first[rows], max(1, len(rows) // 4096))
    for chunk in chunks:
        total += store.get_many(chunk).sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    for chunk in chunks:
        squares += np.square(store.get_many(chunk) - mean).sum(axis=0)
    deviation = np.sqrt(squares / len(rows))
    scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
    return mean.astype(np.float32), scale.astype(np.float32)


class ImageTransform(ArrayTransform):
    """Normalized images of one size: bytes (n, ..., H, W, 3) -> (n, 3, ..., H, W).

    Args:
        store: Store of uint8 arrays.
        config: Preprocessing, with the mean and standard deviation of each channel.
    """

    def __init__(self, store: Store, config: PicturesConfig | ViewsConfig):
        super().__init__(store)
        *inner, height, width, channels = self.spec.shape
        self._set_form(config, (channels, *inner, height, width))

    def _set_form(self, config: PicturesConfig | ViewsConfig, shape: tuple[int, ...]) -> None:
        self.spec = InputSpec(shape)
        self._scale = 1 / (255 * torch.tensor(config.std))
        self._shift = -torch.tensor(config.mean) / torch.tensor(config.std)

    def finish(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        """Move the channels to the second axis, normalize and cast the batch."""
        channels = (-1, *[1] * (batch.dim() - 2))
        # Moved while a value is one byte, which is faster.
        values = batch.movedim(-1, 1).contiguous().float()
        scale = self._scale.to(batch.device, non_blocking=True).view(channels)
        shift = self._shift.to(batch.device, non_blocking=True).view(channels)
        values.mul_(scale).add_(shift)
        return values.to(dtype)


class RandomCropTransform(ImageTransform):
    """Random crops, resized and flipped at random.

    Of the frames of a clip, one frame is drawn from each of `count` equal segments.

    Args:
        store: Store of images of any size; a clip has several.
        config: Preprocessing of images or frames.
    """

    def __init__(self, store: Store, config: PicturesConfig):
        self.store = store
        self.size = config.size
        self.count = config.count if isinstance(config, FramesConfig) else None
        inner = () if self.count is None else (self.count,)
        self._set_form(config, (3, *inner, config.size, config.size))

    def gather(self, rows: Indices, generator: np.random.Generator) -> Tensor:
        """Draw a crop of each image, or of `count` frames of each clip."""
        count = self.count or 1
        draws = generator.random((len(rows), count, 2 * ATTEMPTS + 4))
        batch = torch.empty((len(rows) * count, self.size, self.size, 3), dtype=torch.uint8)
        for position, row in enumerate(rows):
            first = self.store.first[row]
            last = self.store.first[row + 1]
            for number, (low, high) in enumerate(split_segments(int(last - first), count)):
                drawn = draws[position, number]
                item = first + low + int(drawn[0] * (high - low))
                self._crop(int(item), drawn[1:], batch[position * count + number])
        return batch if self.count is None else batch.view(len(rows), count, *batch.shape[1:])

    def _crop(self, item: int, drawn: npt.NDArray[np.float64], out: Tensor) -> None:
        picture = self.store.get_array(item)
        top, left, height, width = crop_box(picture.shape[0], picture.shape[1], drawn[:-1])
        part = picture[top : top + height, left : left + width]
        self.store.release_read_pages(part.nbytes)
        pixels = torch.from_numpy(np.array(part)).permute(2, 0, 1)[None]
        size = (self.size, self.size)
        resized = F.interpolate(pixels, size, mode="bilinear", antialias=True)[0]
        flipped = resized.flip(2) if drawn[-1] < 0.5 else resized
        out.copy_(flipped.permute(1, 2, 0))


def crop_box(height: int, width: int, drawn: npt.NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Choose a random crop of 8 to 100 % of the area and aspect ratio 3/4 to 4/3.

    Source: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.

    Args:
        height: Height of the image.
        width: Width of the image.
        drawn: Random numbers in [0, 1), shape (2 * ATTEMPTS + 2,): area and aspect ratio of each
            attempt, then the position of the crop.

    Returns:
        Top, left, height and width of the first attempt that fits. If none fits, the largest crop
        of an allowed aspect ratio in the center.
    """
    pairs = drawn[: 2 * ATTEMPTS].reshape(ATTEMPTS, 2)
    areas = height * width * (0.08 + 0.92 * pairs[:, 0])
    aspects = np.exp(np.log(3 / 4) + (np.log(4 / 3) - np.log(3 / 4)) * pairs[:, 1])
    widths = np.rint(np.sqrt(areas * aspects)).astype(int)
    heights = np.rint(np.sqrt(areas / aspects)).astype(int)
    fits = np.flatnonzero((widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height))
    if len(fits):
        high = int(heights[fits[0]])
        wide = int(widths[fits[0]])
        top, left = drawn[2 * ATTEMPTS :][:2]
        return int(top * (height - high + 1)), int(left * (width - wide + 1)), high, wide
    wide = min(width, max(1, round(height * 4 / 3)))
    high = min(height, max(1, round(width * 4 / 3)))
    return (height - high) // 2, (width - wide) // 2, high, wide


class RandomViewTransform(ImageTransform):
    """Distinct random views of each object.

    Args:
        store: Store of all views of each object, one array (of, H, W, 3).
        config: Preprocessing, with the number of views to draw.
    """

    def __init__(self, store: Store, config: ViewsConfig):
        super().__init__(store, config)
        self.count = config.count
        channels, self.of, height, width = self.spec.shape
        self.spec = InputSpec((channels, config.count, height, width))

    def gather(self, rows: Indices, generator: np.random.Generator) -> Tensor:
        """Draw `count` views of each object."""
        views = generator.random((len(rows), self.of)).argsort(axis=1)[:, : self.count]
        values = self.store.get_all()[self.store.first[rows][:, None], views]
        self.store.release_read_pages(values.nbytes)
        return torch.from_numpy(values)


class PointCloudTransform:
    """Points drawn from each cloud, (n, count, 3).

    Args:
        store: Store of clouds (points, 3).
        config: Preprocessing, with the number of points to draw.
        fixed: Seed with which the points of a cloud are always the same, for evaluation. None draws
            other points in every epoch, for training.
    """

    def __init__(self, store: Store, config: PointsConfig, fixed: int | None):
        self.store = store
        self.config = config
        self.fixed = fixed
        self.spec = InputSpec((config.count, 3))

    def gather(self, rows: Indices, generator: np.random.Generator) -> Tensor:
        """Draw points of each cloud, and augment them in training if configured."""
        count = self.config.count
        batch = np.empty((len(rows), count, 3), np.float32)
        for position, row in enumerate(rows):
            own = generator
            if self.fixed is not None:
                own = np.random.default_rng((self.fixed, int(row)))
            cloud = self.store.get_array(int(self.store.first[row]))
            batch[position] = cloud[own.choice(len(cloud), count, replace=len(cloud) < count)]
            self.store.release_read_pages(cloud.nbytes)
        if self.fixed is None and self.config.augment:
            batch = augment_clouds(batch, generator)
        return torch.from_numpy(batch)

    def finish(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        """Cast the batch."""
        return batch.to(dtype)


def augment_clouds(
    clouds: npt.NDArray[np.float32], generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Scale, shift and rotate each cloud about the vertical axis, and jitter its points.

    Args:
        clouds: Points, shape (n, count, 3).
        generator: Source of random numbers.

    Returns:
        Augmented points of the same shape.
    """
    n = len(clouds)
    scale = generator.uniform(2 / 3, 3 / 2, (n, 1, 3))
    shift = generator.uniform(-0.2, 0.2, (n, 1, 3))
    angle = generator.uniform(0, 2 * np.pi, n)
    rotation = np.zeros((n, 3, 3))
    rotation[:, 0, 0] = rotation[:, 2, 2] = np.cos(angle)
    rotation[:, 0, 2] = np.sin(angle)
    rotation[:, 2, 0] = -np.sin(angle)
    rotation[:, 1, 1] = 1
    jitter = np.clip(0.01 * generator.standard_normal(clouds.shape), -0.02, 0.02)
    moved = (clouds * scale + shift) @ rotation + jitter
    augmented: npt.NDArray[np.float32] = moved.astype(np.float32)
    return augmented


class TextTransform:
    """Token ids, padded to the longest text of a batch.

    Args:
        store: Store of the numbers of words or tokens.
        spec: Form of the samples, with the vocabulary.
        ids: Id of each stored number, shape (words,); None if stored numbers are ids.
    """

    def __init__(self, store: Store, spec: InputSpec, ids: npt.NDArray[np.int64] | None):
        self.store = store
        self.spec = spec
        self.ids = ids

    def gather(self, rows: Indices, generator: np.random.Generator) -> Sequences:
        """Read and pad the texts of a batch."""
        texts = [self.store.get_array(int(item)) for item in self.store.first[rows]]
        lengths = np.array([len(text) for text in texts])
        batch = np.zeros((len(texts), lengths.max()), np.int64)
        for position, text in enumerate(texts):
            batch[position, : len(text)] = text if self.ids is None else self.ids[text]
        return Sequences(torch.from_numpy(batch), torch.from_numpy(lengths))

    def finish(self, batch: Sequences, dtype: torch.dtype) -> Sequences:
        """Return the batch as it is, since ids have no floating-point type."""
        return batch


def make_batch_generator(seed: int, *where: str | int) -> np.random.Generator:
    """Make the random generator of one batch.

    Args:
        seed: Seed of the trial.
        *where: Name of the batch: modality, pass and number.

    Returns:
        A generator of the random stream with this name.
    """
    return np.random.default_rng(stream_seed(seed, "augment", *where))


def gather_batch(
    transforms: Mapping[str, AnyTransform], rows: Indices, seed: int, where: Sequence[str | int]
) -> dict[str, Input]:
    """Gather a batch of all modalities, each with its own random generator.

    Args:
        transforms: Batch transform by modality.
        rows: Rows of the samples in the stores.
        seed: Seed of the trial.
        where: Name of the batch: pass and number.

    Returns:
        The batch by modality, on the CPU.
    """
    batch = {}
    for name, transform in transforms.items():
        batch[name] = transform.gather(rows, make_batch_generator(seed, name, *where))
    return batch
