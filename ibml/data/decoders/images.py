"""Pictures: an image, a clip's frames, an object's views, as uint8 arrays (H, W, 3)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ibml.common.optional_deps import import_optional
from ibml.config.preprocessing import FramesConfig, PicturesConfig, ViewsConfig
from ibml.data.decoders.base import Array, DecodeError, Decoder, Form
from ibml.data.listing import SamplePart

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Pillow knows more, and runs another program for some of them, whatever a file is called."""
_WRONG = (
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers end with, besides their own errors, where a file is wrong."""


class _PictureDecoder(Decoder):
    """Resized as a whole, (size, size, 3), or as large as random crops need them, (H, W, 3)."""

    revision = 2
    dtype = np.uint8

    def __init__(self, config: PicturesConfig):
        self.config = config

    def get_forms(self) -> tuple[Form, ...]:
        return ("plain", "varied") if self.config.augment else ("plain",)

    def get_settings(self, form: Form) -> dict[str, Any]:
        return {"size": self.config.size} if form == "plain" else {"stored_side": self.stored_side}

    @property
    def stored_side(self) -> int:
        return max(self.config.stored_side, self.config.size)

    def make_array(self, picture: Any, form: Form) -> Array:
        size = self.config.size
        if form == "plain":
            return resize_picture(picture, size, size)
        ratio = self.stored_side / min(picture.size)
        if ratio >= 1:
            return np.array(picture)
        width, height = (max(round(side * ratio), self.stored_side) for side in picture.size)
        return resize_picture(picture, width, height)


class ImageDecoder(_PictureDecoder):
    """`plain`: resized as a whole. `varied`: as large as random crops need it."""

    wire_name = "Image"

    def read(self, part: SamplePart, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        picture = read_picture(root / part.files[0])
        return {form: [self.make_array(picture, form)] for form in forms}


class FramesDecoder(_PictureDecoder):
    """`plain`: the middle frame of each segment, one array (count, size, size, 3). `varied`: all frames, an array
    each."""

    wire_name = "Frames"

    def __init__(self, config: FramesConfig):
        super().__init__(config)
        self.count = config.count

    def get_settings(self, form: Form) -> dict[str, Any]:
        return super().get_settings(form) | ({"count": self.count} if form == "plain" else {})

    def read(self, part: SamplePart, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        middles = [(low + high) // 2 for low, high in split_segments(len(part.files), self.count)]
        chosen = range(len(part.files)) if "varied" in forms else sorted(set(middles))
        pictures = {index: _read_named(root, part.files[index]) for index in chosen}
        made: dict[Form, list[Array]] = {}
        if "plain" in forms:
            made["plain"] = [
                np.stack([self.make_array(pictures[index], "plain") for index in middles])
            ]
        if "varied" in forms:
            made["varied"] = [self.make_array(picture, "varied") for picture in pictures.values()]
        return made


class ViewsDecoder(Decoder):
    """`plain`: `count` views at equal distances, one array (count, size, size, 3). `varied`: all of
    them, (of, size, size, 3)."""

    wire_name = "Views"
    revision = 2
    dtype = np.uint8

    def __init__(self, config: ViewsConfig):
        self.config = config

    def get_forms(self) -> tuple[Form, ...]:
        return ("plain", "varied") if self.config.augment else ("plain",)

    def get_settings(self, form: Form) -> dict[str, Any]:
        return {
            **self.config.model_dump(mode="json", include={"crop", "size", "of"}),
            "views": self._select_views(form),
        }

    def _select_views(self, form: Form) -> list[int]:
        config = self.config
        return (
            [i * config.of // config.count for i in range(config.count)]
            if form == "plain"
            else [*range(config.of)]
        )

    def read(self, part: SamplePart, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        wanted = sorted({view for form in forms for view in self._select_views(form)})
        made = {view: self._make_array(_read_named(root, part.files[view])) for view in wanted}
        return {
            form: [np.stack([made[view] for view in self._select_views(form)])] for form in forms
        }

    def _make_array(self, picture: Any) -> Array:
        size, crop = self.config.size, self.config.crop
        left, top = ((side - crop) // 2 for side in picture.size)
        if min(picture.size) > crop:
            picture = picture.crop((left, top, left + crop, top + crop))
        return resize_picture(picture, size, size)


def split_segments(frames: int, count: int) -> list[tuple[int, int]]:
    """`count` equal segments of a number of frames, as (first, one after the last); where there are fewer frames, some
    are repeated."""
    bounds = [(i * frames // count, (i + 1) * frames // count) for i in range(count)]
    return [(low, high) if high > low else (low, low + 1) for low, high in bounds]


def read_picture(path: Path) -> Any:
    """An RGB picture: the first of an animation, as it lies in the file whatever its EXIF says of how it was held,
    without regard to transparency."""
    pillow = import_optional("PIL.Image", "image")
    try:
        with pillow.open(path, formats=_get_formats()) as picture:
            return _reduce_to_8_bits(picture).convert("RGB")
    except DecodeError:
        raise
    except (pillow.DecompressionBombError, pillow.UnidentifiedImageError, *_WRONG) as error:
        raise DecodeError(
            f"is no picture that can be read: {str(error).replace(str(path), path.name)}"
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise DecodeError(f"is damaged: {error}") from None


@cache
def _get_formats() -> list[str]:
    pillow = import_optional("PIL.Image", "image")
    pillow.init()
    return [name for name in _FORMATS if name in pillow.OPEN]  # Pillow may be built without some


def _reduce_to_8_bits(picture: Any) -> Any:
    """Of a grey picture of 16 bits the upper 8: Pillow would make everything above 255 white."""
    wide = picture.mode == "I" and picture.format == "PNG"  # as Pillow 10 opens those of 16 bits
    if picture.mode in ("I", "F") and not wide:
        raise DecodeError("has values of 32 bits, of which nothing says what is white")
    if not picture.mode.startswith("I;16") and not wide:
        return picture
    return import_optional("PIL.Image", "image").fromarray(
        (np.asarray(picture) >> 8).astype(np.uint8)
    )


def _read_named(root: Path, file: str) -> Any:
    """A picture of several, whose error says which."""
    try:
        return read_picture(root / file)
    except DecodeError as error:
        raise DecodeError(f"{Path(file).name} {error}") from None


def resize_picture(picture: Any, width: int, height: int) -> Array:
    """A picture's pixels (height, width, 3), bilinear and over the whole area where it gets smaller, as Pillow does it
    but for a few pixels that round the other way, and in a quarter of the time."""
    pixels: Array = np.array(picture)
    if picture.size == (width, height):
        return pixels
    import torch
    from torch.nn import functional as F

    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    made: Array = (
        F.interpolate(batch, (height, width), mode="bilinear", antialias=True)[0]
        .permute(1, 2, 0)
        .numpy()
    )
    return made
