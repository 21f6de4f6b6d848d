"""Preprocessing configurations: conversion of media to arrays, one class per kind of modality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ibml.config.base import Config, Count, Items, Positive

ModalityKind = Literal["vector", "image", "frames", "audio", "text", "points"]
"""Kind of a modality, which determines the suitable encoders."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Side = Annotated[int, Field(ge=1, le=4096)]
Three = Annotated[Items[float], Field(min_length=3, max_length=3)]
ThreePositive = Annotated[Items[Positive], Field(min_length=3, max_length=3)]


class Preprocessing(Config):
    """Base class of the preprocessing of a modality."""

    kind: ModalityKind
    """Kind of the modality, which determines the suitable encoders."""

    @property
    def files(self) -> dict[str, Path]:
        """Field -> file or folder that it names.

        The trial key depends on the content of these files, not on their paths.
        """
        return {}

    def without_files(self) -> Self:
        """Return a copy in which the fields that name files are None."""
        return self.model_copy(update=dict.fromkeys(self.files))


class VectorConfig(Preprocessing):
    """Vectors: a .npy file of one row, or numbers separated by spaces, commas or semicolons."""

    kind: Literal["vector"] = "vector"
    standardise: bool = True
    """Scale each column to mean 0 and standard deviation 1 over the training samples."""


class AudioConfig(Preprocessing):
    """Spectrograms of clips, shape (1, window // 2 + 1, T).

    The clip is converted to mono, resampled, tiled or cut to its length, and clipped to [-1, 1].
    `stft` is log(|S| + 1e-7) with a centred Hann window and zero padding. `power` is log(P + 1e-7)
    with P from `scipy.signal.spectrogram` (Tukey window, density, mean removed per segment).
    """

    kind: Literal["audio"] = "audio"
    rate: Annotated[int, Field(ge=100, le=400_000)] = 22_050
    """Sampling rate after resampling, Hz."""
    seconds: Annotated[float, Field(gt=0, le=3600)] = 3.0
    """Length of a clip, seconds; shorter clips are tiled, longer ones are cut."""
    window: Annotated[int, Field(ge=2, le=65_536)] = 512
    """Length of a spectrogram's window, samples."""
    hop: Count = 353
    """Distance between the starts of two windows, samples."""
    spectrum: Literal["stft", "power"] = "stft"
    """`stft`: log magnitude of a short-time Fourier transform with a Hann window; `power`: log
    power spectral density as in `scipy.signal.spectrogram`."""
    standardise: bool = False
    """Scale each clip to mean 0 and standard deviation 1."""

    @property
    def samples(self) -> int:
        """Number of samples of a clip after resampling."""
        return int(self.rate * self.seconds)

    @property
    def steps(self) -> int:
        """Number of time steps of the spectrogram, T."""
        if self.spectrum == "stft":
            return 1 + self.samples // self.hop
        return (self.samples - self.window) // self.hop + 1

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.window > self.samples:
            raise ValueError(
                f"a window of {self.window} samples is longer than {self.seconds:g} s"
                f" at {self.rate} Hz"
            )
        return self


class PicturesConfig(Preprocessing):
    """Base class for normalised RGB pictures, each of shape (3, size, size).

    In training with `augment`, a random crop of 8 to 100 % of the area and aspect ratio 3/4 to 4/3
    is resized, and flipped with probability 1/2. Otherwise the whole picture is resized.
    """

    size: Side = 224
    """Height and width of a picture for the encoder, pixels."""
    augment: bool = True
    """Train on random crops and horizontal flips; evaluation sees the whole picture."""
    stored_side: Side = 256
    """Largest shorter side of cached pictures, pixels; bounds the size of the cache."""
    mean: Three = IMAGENET_MEAN
    """Mean subtracted from each colour channel (RGB, values in [0, 1]); default: ImageNet's."""
    std: ThreePositive = IMAGENET_STD
    """Standard deviation by which each colour channel is divided; default: ImageNet's."""

    @model_validator(mode="after")
    def _check_stored_side(self) -> Self:
        if self.augment and self.stored_side < self.size and "stored_side" in self.model_fields_set:
            raise ValueError(f"stored_side {self.stored_side} is less than size {self.size}")
        return self


class ImageConfig(PicturesConfig):
    """Normalised RGB images, shape (3, size, size)."""

    kind: Literal["image"] = "image"


class FramesConfig(PicturesConfig):
    """Frames of a clip, shape (3, count, size, size).

    The sorted frames are divided into `count` equal segments. Training with `augment` draws one
    frame of each segment; otherwise the middle frame is used. Clips with fewer frames repeat them.
    """

    kind: Literal["frames"] = "frames"
    count: Annotated[int, Field(ge=1, le=64)] = 3
    """Number of frames per clip, one from each of `count` equal segments."""


class ViewsConfig(Preprocessing):
    """Rendered views of an object, shape (3, count, size, size).

    Each view is cropped to its central `crop` pixels, resized and normalised. Training with
    `augment` draws `count` distinct views out of `of`; otherwise equidistant views are used.
    """

    kind: Literal["frames"] = "frames"
    count: Annotated[int, Field(ge=1, le=64)] = 4
    """Number of views per object for the encoder."""
    of: Annotated[int, Field(ge=1, le=1000)] = 180
    """Number of views per object in the data set."""
    crop: Side = 224
    """Height and width of the centre crop of a view before resizing, pixels."""
    size: Side = 112
    """Height and width of a view for the encoder, pixels."""
    augment: bool = True
    """Train on random views; evaluation sees equidistant views."""
    mean: Three = IMAGENET_MEAN
    """Mean subtracted from each colour channel (RGB, values in [0, 1]); default: ImageNet's."""
    std: ThreePositive = IMAGENET_STD
    """Standard deviation by which each colour channel is divided; default: ImageNet's."""

    @model_validator(mode="after")
    def _check_count(self) -> Self:
        if self.count > self.of:
            raise ValueError(f"count {self.count} is greater than the number of views, {self.of}")
        return self


class RawImageConfig(Preprocessing):
    """Images as stored in the data set's arrays, shape (3, H, W), without preprocessing."""

    kind: Literal["image"] = "image"


class TextConfig(Preprocessing):
    """Token ids of texts, at most `length` per text; an empty text is one unknown word.

    By default, tokens are lower-cased words, the vocabulary is that of the training texts, and the
    embeddings are learned. With `vectors`, a text file in GloVe format (`word v1 .. vd`), the
    embeddings are frozen, and unknown words are zero vectors. With `tokenizer`, a local folder
    that the transformers library reads, its tokens are used.
    """

    kind: Literal["text"] = "text"
    length: Annotated[int, Field(ge=1, le=100_000)] = 77
    """Largest number of tokens of a text; further tokens are cut."""
    vectors: str | None = None
    """Text file of word vectors in GloVe format (Pennington et al., 2014); null: learned ones."""
    tokenizer: str | None = None
    """Local folder of a tokenizer of the transformers library; null: lower-cased words."""

    @field_validator("vectors", "tokenizer")
    @classmethod
    def _check_path(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is None:
            return None
        if info.field_name == "vectors" and not Path(path).is_file():
            raise ValueError(f"there is no file {path!r}")
        if info.field_name == "tokenizer" and not Path(path).is_dir():
            raise ValueError(f"there is no folder {path!r}")
        return path

    @property
    def files(self) -> dict[str, Path]:
        """Word vectors and tokenizer, if set."""
        named = {"vectors": self.vectors, "tokenizer": self.tokenizer}
        return {field: Path(path) for field, path in named.items() if path is not None}

    @model_validator(mode="after")
    def _check_exclusive(self) -> Self:
        if self.vectors and self.tokenizer:
            raise ValueError("vectors and tokenizer exclude each other: give one of the two")
        return self


class PointsConfig(Preprocessing):
    """Point clouds, shape (count, 3).

    Training draws `count` points without replacement at every visit; evaluation uses one fixed
    draw. Smaller clouds are drawn from with replacement. With `augment`, clouds in training are
    scaled by U(2/3, 3/2) and shifted by U(-0.2, 0.2) per axis, rotated about the vertical axis (y),
    and jittered by N(0, 0.01) clipped at 0.02.
    """

    kind: Literal["points"] = "points"
    count: Annotated[int, Field(ge=1, le=100_000)] = 1024
    """Number of points per cloud for the encoder."""
    augment: bool = False
    """Scale, shift, rotate and jitter clouds in training."""


class _Column(Config):
    column: str
    """Column of the table, or key of the JSON object, that contains the modality."""


class VectorColumn(_Column, VectorConfig):
    """Column with vectors."""

    kind: Literal["vector"]


class AudioColumn(_Column, AudioConfig):
    """Column with audio files."""

    kind: Literal["audio"]


class ImageColumn(_Column, ImageConfig):
    """Column with image files."""

    kind: Literal["image"]


class FramesColumn(_Column, FramesConfig):
    """Column with folders of frames."""

    kind: Literal["frames"]


class TextColumn(_Column, TextConfig):
    """Column with texts."""

    kind: Literal["text"]


class PointsColumn(_Column, PointsConfig):
    """Column with files of points: .npy, shape (n, 3)."""

    kind: Literal["points"]


ColumnConfig = Annotated[
    VectorColumn | AudioColumn | ImageColumn | FramesColumn | TextColumn | PointsColumn,
    Field(discriminator="kind"),
]
