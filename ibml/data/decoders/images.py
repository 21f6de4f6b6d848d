"""Decoders of images: single images, frames of clips and views of objects, as uint8 (H, W, 3)."""

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
"""Allowed formats. Pillow knows others, and runs another program for some of them."""
_PILLOW_ERRORS = (
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
"""Errors of Pillow's readers for damaged files, besides Pillow's own."""


class _PictureDecoder(Decoder):
    """Images in two forms.

    `plain` images are resized as a whole, (size, size, 3). `varied` images are as large as random
    crops need them, (H, W, 3).

    Args:
        config: Preprocessing of the images.
    """

    revision = 2
    dtype = np.uint8

    def __init__(self, config: PicturesConfig):
        self.config = config

    def get_forms(self) -> tuple[Form, ...]:
        """Return both forms if training augments images."""
        return ("plain", "varied") if self.config.augment else ("plain",)

    def get_settings(self, form: Form) -> dict[str, Any]:
        """Return the size of the form."""
        if form == "plain":
            return {"size": self.config.size}
        return {"stored_side": self.stored_side}

    @property
    def stored_side(self) -> int:
        """Length of the shorter side of `varied` images; smaller images keep their size."""
        return max(self.config.stored_side, self.config.size)

    def make_array(self, picture: Any, form: Form) -> Array:
        """Resize an image to the size of a form.

        Args:
            picture: RGB image of Pillow.
            form: Form of the result.

        Returns:
            Pixels, shape (H, W, 3), uint8.
        """
        size = self.config.size
        if form == "plain":
            return resize_picture(picture, size, size)
        ratio = self.stored_side / min(picture.size)
        if ratio >= 1:
            return np.array(picture)
        width, height = (max(round(side * ratio), self.stored_side) for side in picture.size)
        return resize_picture(picture, width, height)


class ImageDecoder(_PictureDecoder):
    """One image per sample.

    Args:
        config: Preprocessing of the images.
    """

    wire_name = "Image"

    def decode(
        self, part: SamplePart, root: Path, forms: Sequence[Form]
    ) -> dict[Form, list[Array]]:
        """Decode one image, see `Decoder.decode`."""
        picture = read_picture(root / part.files[0])
        return {form: [self.make_array(picture, form)] for form in forms}


class FramesDecoder(_PictureDecoder):
    """Frames of a clip.

    The `plain` form is the middle frame of each segment, one array (count, size, size, 3). The
    `varied` form is all frames, one array each.

    Args:
        config: Preprocessing of the frames.
    """

    wire_name = "Frames"

    def __init__(self, config: FramesConfig):
        super().__init__(config)
        self.count = config.count

    def get_settings(self, form: Form) -> dict[str, Any]:
        """Return the size of the form, and for `plain` the number of frames."""
        settings = super().get_settings(form)
        if form == "plain":
            settings["count"] = self.count
        return settings

    def decode(
        self, part: SamplePart, root: Path, forms: Sequence[Form]
    ) -> dict[Form, list[Array]]:
        """Decode the frames of one clip, see `Decoder.decode`."""
        frames = len(part.files)
        middles = [(low + high) // 2 for low, high in split_segments(frames, self.count)]
        chosen = range(frames) if "varied" in forms else sorted(set(middles))
        pictures = {index: _read_named(root, part.files[index]) for index in chosen}
        made: dict[Form, list[Array]] = {}
        if "plain" in forms:
            plain = [self.make_array(pictures[index], "plain") for index in middles]
            made["plain"] = [np.stack(plain)]
        if "varied" in forms:
            made["varied"] = [self.make_array(picture, "varied") for picture in pictures.values()]
        return made


class ViewsDecoder(Decoder):
    """Rendered views of an object.

    The `plain` form is `count` views at equal distances, one array (count, size, size, 3). The
    `varied` form is all views, one array (of, size, size, 3).

    Args:
        config: Preprocessing of the views.
    """

    wire_name = "Views"
    revision = 2
    dtype = np.uint8

    def __init__(self, config: ViewsConfig):
        self.config = config

    def get_forms(self) -> tuple[Form, ...]:
        """Return both forms if training draws views."""
        return ("plain", "varied") if self.config.augment else ("plain",)

    def get_settings(self, form: Form) -> dict[str, Any]:
        """Return crop, size and views of the form."""
        settings = self.config.model_dump(mode="json", include={"crop", "size", "of"})
        return {**settings, "views": self._select_views(form)}

    def _select_views(self, form: Form) -> list[int]:
        config = self.config
        if form == "varied":
            return [*range(config.of)]
        return [i * config.of // config.count for i in range(config.count)]

    def decode(
        self, part: SamplePart, root: Path, forms: Sequence[Form]
    ) -> dict[Form, list[Array]]:
        """Decode the views of one object, see `Decoder.decode`."""
        selected = {form: self._select_views(form) for form in forms}
        needed = sorted(set().union(*selected.values()))
        arrays = {view: self._make_array(_read_named(root, part.files[view])) for view in needed}
        made: dict[Form, list[Array]] = {}
        for form, views in selected.items():
            made[form] = [np.stack([arrays[view] for view in views])]
        return made

    def _make_array(self, picture: Any) -> Array:
        size = self.config.size
        crop = self.config.crop
        left, top = ((side - crop) // 2 for side in picture.size)
        if min(picture.size) > crop:
            picture = picture.crop((left, top, left + crop, top + crop))
        return resize_picture(picture, size, size)


def split_segments(frames: int, count: int) -> list[tuple[int, int]]:
    """Split frames into equal segments.

    Args:
        frames: Number of frames.
        count: Number of segments.

    Returns:
        First frame and the one after the last of each segment. If there are fewer frames than
        segments, some frames are repeated.
    """
    bounds = [(i * frames // count, (i + 1) * frames // count) for i in range(count)]
    return [(low, high) if high > low else (low, low + 1) for low, high in bounds]


def read_picture(path: Path) -> Any:
    """Read an image as RGB.

    Of an animation the first image is read. EXIF orientation and transparency are ignored.

    Args:
        path: Path of the file.

    Returns:
        The image, a `PIL.Image.Image`.

    Raises:
        DecodeError: The file is damaged, or not an image of an allowed format.
        OSError: The file cannot be read.
    """
    pillow = import_optional("PIL.Image", "image")
    pillow_errors = (pillow.DecompressionBombError, pillow.UnidentifiedImageError, *_PILLOW_ERRORS)
    try:
        with pillow.open(path, formats=_get_formats()) as picture:
            return _reduce_to_8_bits(picture).convert("RGB")
    except DecodeError:
        raise
    except pillow_errors as error:
        reason = str(error).replace(str(path), path.name)
        raise DecodeError(f"cannot be read as an image: {reason}") from None
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
    """Keep the upper 8 bits of a 16-bit gray image; Pillow would clip all values above 255."""
    is_wide = picture.mode == "I" and picture.format == "PNG"  # how Pillow 10 opens 16-bit images
    if picture.mode in ("I", "F") and not is_wide:
        raise DecodeError("has 32-bit values without a known maximum")
    if not picture.mode.startswith("I;16") and not is_wide:
        return picture
    values = (np.asarray(picture) >> 8).astype(np.uint8)
    return import_optional("PIL.Image", "image").fromarray(values)


def _read_named(root: Path, file: str) -> Any:
    """Read one of several images of a sample; the error names it."""
    try:
        return read_picture(root / file)
    except DecodeError as error:
        raise DecodeError(f"{Path(file).name} {error}") from None


def resize_picture(picture: Any, width: int, height: int) -> Array:
    """Resize an image, bilinear with antialiasing.

    The result is that of Pillow except for a few pixels that are rounded differently, in a quarter
    of the time.

    Args:
        picture: RGB image of Pillow.
        width: Width of the result.
        height: Height of the result.

    Returns:
        Pixels, shape (height, width, 3), uint8.
    """
    pixels: Array = np.array(picture)
    if picture.size == (width, height):
        return pixels
    import torch
    from torch.nn import functional as F

    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    resized = F.interpolate(batch, (height, width), mode="bilinear", antialias=True)[0]
    made: Array = resized.permute(1, 2, 0).numpy()
    return made
