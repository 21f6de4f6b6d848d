"""How the media of a data set become arrays: one class a kind of modality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ibml.config.base import Config, Count, Items, Positive

ModalityKind = Literal["vector", "image", "frames", "audio", "text", "points"]
"""What a modality can be, which decides the encoders that fit."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Side = Annotated[int, Field(ge=1, le=4096)]
Three = Annotated[Items[float], Field(min_length=3, max_length=3)]
ThreePositive = Annotated[Items[Positive], Field(min_length=3, max_length=3)]


class Preprocessing(Config):
    """What one modality is made into."""

    kind: ModalityKind
    """Kind of the modality, which determines the encoders that fit."""

    @property
    def files(self) -> dict[str, Path]:
        """Field -> the file or folder that it names; a trial's key depends on what is in it, not on where it is."""
        return {}

    def without_files(self) -> Self:
        """The same without the files that it names."""
        return self.model_copy(update=dict.fromkeys(self.files))


class VectorConfig(Preprocessing):
    """Numbers: a .npy file of one row, or numbers in the cell itself, separated by spaces, commas or semicolons."""

    kind: Literal["vector"] = "vector"
    standardise: bool = True
    """Scale each column to mean 0 and standard deviation 1 over the training samples."""


class AudioConfig(Preprocessing):
    """A clip's spectrogram, (1, window // 2 + 1, T): mono, resampled, tiled and cut to its length, clipped to [-1, 1].

    `stft` is log(|S| + 1e-7), Hann window, centred, zeros beyond the ends; `power` is log(P + 1e-7) with P as
    `scipy.signal.spectrogram` has it (Tukey window, density, each segment's mean removed).
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
    """`stft`: log magnitude of a short-time Fourier transform with a Hann window; `power`: log power spectral density
    as in `scipy.signal.spectrogram`."""
    standardise: bool = False
    """Scale each clip to mean 0 and standard deviation 1."""

    @property
    def samples(self) -> int:
        return int(self.rate * self.seconds)

    @property
    def steps(self) -> int:
        """T."""
        if self.spectrum == "stft":
            return 1 + self.samples // self.hop
        return (self.samples - self.window) // self.hop + 1

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.window > self.samples:
            raise ValueError(
                f"a window of {self.window} samples is longer than {self.seconds:g} s at {self.rate} Hz"
            )
        return self


class PicturesConfig(Preprocessing):
    """RGB pictures, each (3, size, size), normalised. In training, with `augment`, a random part of 8 to 100 % of a
    picture's area and of aspect 3/4 to 4/3, resized, and flipped every other time; otherwise resized as a whole."""

    size: Side = 224
    """Height and width of a picture for the encoder, pixels."""
    augment: bool = True
    """Train on random crops and horizontal flips; evaluation sees the whole picture."""
    stored_side: Side = 256
    """Largest shorter side, pixels, of pictures that are cached for random crops; bounds the size of the cache."""
    mean: Three = IMAGENET_MEAN
    """Mean of each colour channel (RGB, values in [0, 1]) that is subtracted; default: ImageNet's."""
    std: ThreePositive = IMAGENET_STD
    """Standard deviation of each colour channel that is divided by; default: ImageNet's."""

    @model_validator(mode="after")
    def _stored_is_enough(self) -> Self:
        if self.augment and self.stored_side < self.size and "stored_side" in self.model_fields_set:
            raise ValueError(f"stored_side {self.stored_side} is less than size {self.size}")
        return self


class ImageConfig(PicturesConfig):
    """An RGB image, (3, size, size), normalised; in training, with `augment`, a random part of it."""

    kind: Literal["image"] = "image"


class FramesConfig(PicturesConfig):
    """Frames of a clip, (3, count, size, size): its sorted frames in `count` equal segments, of which training with
    `augment` draws one each, and everything else takes the middle one. A clip with fewer repeats them."""

    kind: Literal["frames"] = "frames"
    count: Annotated[int, Field(ge=1, le=64)] = 3
    """Number of frames of a clip that the encoder gets, one of each of as many equal segments."""


class ViewsConfig(Preprocessing):
    """Rendered views of an object, (3, count, size, size): cut to the middle `crop` pixels, resized, normalised.
    Training with `augment` draws `count` distinct ones of `of`, everything else takes them at equal distances."""

    kind: Literal["frames"] = "frames"
    count: Annotated[int, Field(ge=1, le=64)] = 4
    """Number of views of an object that the encoder gets."""
    of: Annotated[int, Field(ge=1, le=1000)] = 180
    """Number of views of an object in the data set."""
    crop: Side = 224
    """Height and width of the centre crop of a view, pixels, before it is resized."""
    size: Side = 112
    """Height and width of a view for the encoder, pixels."""
    augment: bool = True
    """Train on random views; evaluation sees views at equal distances."""
    mean: Three = IMAGENET_MEAN
    """Mean of each colour channel (RGB, values in [0, 1]) that is subtracted; default: ImageNet's."""
    std: ThreePositive = IMAGENET_STD
    """Standard deviation of each colour channel that is divided by; default: ImageNet's."""

    @model_validator(mode="after")
    def _enough_views(self) -> Self:
        if self.count > self.of:
            raise ValueError(f"{self.count} distinct views of {self.of} there are not")
        return self


class RawImageConfig(Preprocessing):
    """An image as the data set's arrays have it, (3, H, W), values as they are."""

    kind: Literal["image"] = "image"


class TextConfig(Preprocessing):
    """Lower-cased word tokens, at most `length`; an empty text is one unknown word.

    Words are those of the training texts, with embeddings that are learned; with `vectors`, a text file of GloVe's
    form (`word v1 .. vd`), words have those, frozen, and words without one are the zero vector. With `tokenizer`, a
    local folder of one that `transformers` reads, tokens are that one's.
    """

    kind: Literal["text"] = "text"
    length: Annotated[int, Field(ge=1, le=100_000)] = 77
    """Largest number of tokens of a text; the rest is cut."""
    vectors: str | None = None
    """Text file of word vectors in the format of GloVe (Pennington et al. 2014); null: the encoder learns them."""
    tokenizer: str | None = None
    """Local folder of a tokenizer of the transformers library; null: lower-cased words."""

    @field_validator("vectors", "tokenizer")
    @classmethod
    def _is_there(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is None:
            return None
        if info.field_name == "vectors" and not Path(path).is_file():
            raise ValueError(f"there is no file {path!r}")
        if info.field_name == "tokenizer" and not Path(path).is_dir():
            raise ValueError(f"there is no folder {path!r}")
        return path

    @property
    def files(self) -> dict[str, Path]:
        named = {"vectors": self.vectors, "tokenizer": self.tokenizer}
        return {field: Path(path) for field, path in named.items() if path is not None}

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.vectors and self.tokenizer:
            raise ValueError(
                "vectors are for words, and a tokenizer has tokens of its own: give one of the two"
            )
        return self


class PointsConfig(Preprocessing):
    """A point cloud, (count, 3). Training draws `count` of its points without replacement at every visit, evaluation
    takes a draw that stays; a cloud with fewer points is drawn from with replacement.

    `augment`, in training: scaled by U(2/3, 3/2) and shifted by U(-0.2, 0.2) per axis, rotated about the vertical axis
    (y), and jittered by N(0, 0.01) clipped at 0.02.
    """

    kind: Literal["points"] = "points"
    count: Annotated[int, Field(ge=1, le=100_000)] = 1024
    """Number of points of a cloud that the encoder gets."""
    augment: bool = False
    """Scale, shift, rotate and jitter clouds in training."""


class _Column(Config):
    column: str
    """Column of the table, or key of the JSON object, that contains the modality."""


class VectorColumn(_Column, VectorConfig):
    """A modality of vectors."""

    kind: Literal["vector"]


class AudioColumn(_Column, AudioConfig):
    """A modality of audio files."""

    kind: Literal["audio"]


class ImageColumn(_Column, ImageConfig):
    """A modality of image files."""

    kind: Literal["image"]


class FramesColumn(_Column, FramesConfig):
    """A modality of folders with frames."""

    kind: Literal["frames"]


class TextColumn(_Column, TextConfig):
    """A modality of texts."""

    kind: Literal["text"]


class PointsColumn(_Column, PointsConfig):
    """A modality of files with points: .npy, (n, 3)."""

    kind: Literal["points"]


ColumnConfig = Annotated[
    VectorColumn | AudioColumn | ImageColumn | FramesColumn | TextColumn | PointsColumn,
    Field(discriminator="kind"),
]
