"""Pictures: an image, a clip's frames, an object's views, as uint8 arrays (H, W, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ibml.config.preprocessing import FramesConfig, PicturesConfig, ViewsConfig
from ibml.data.listing import Part
from ibml.data.media.base import Array, Form, Media, MediaError
from ibml.extras import need


class _Pictures(Media):
    """Resized as a whole, (size, size, 3), or as large as random crops need them, (H, W, 3)."""

    dtype = np.uint8

    def __init__(self, config: PicturesConfig):
        self.config = config

    def forms(self) -> tuple[Form, ...]:
        return ("plain", "varied") if self.config.augment else ("plain",)

    def stored(self, form: Form) -> dict[str, Any]:
        return {"size": self.config.size} if form == "plain" else {"stored_side": self.stored_side}

    @property
    def stored_side(self) -> int:
        return max(self.config.stored_side, self.config.size)

    def made(self, picture: Any, form: Form) -> Array:
        size = self.config.size
        if form == "plain":
            return resized(picture, size, size)
        ratio = self.stored_side / min(picture.size)
        if ratio >= 1:
            return np.array(picture)
        width, height = (max(round(side * ratio), self.stored_side) for side in picture.size)
        return resized(picture, width, height)


class Image(_Pictures):
    """`plain`: resized as a whole. `varied`: as large as random crops need it."""

    def read(self, part: Part, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        picture = read_picture(root / part.files[0])
        return {form: [self.made(picture, form)] for form in forms}


class Frames(_Pictures):
    """`plain`: the middle frame of each segment, one array (count, size, size, 3). `varied`: all frames, an array
    each."""

    def __init__(self, config: FramesConfig):
        super().__init__(config)
        self.count = config.count

    def stored(self, form: Form) -> dict[str, Any]:
        return super().stored(form) | ({"count": self.count} if form == "plain" else {})

    def read(self, part: Part, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        middles = [(low + high) // 2 for low, high in segments(len(part.files), self.count)]
        chosen = range(len(part.files)) if "varied" in forms else sorted(set(middles))
        pictures = {index: _named(root, part.files[index]) for index in chosen}
        made: dict[Form, list[Array]] = {}
        if "plain" in forms:
            made["plain"] = [np.stack([self.made(pictures[index], "plain") for index in middles])]
        if "varied" in forms:
            made["varied"] = [self.made(picture, "varied") for picture in pictures.values()]
        return made


class Views(Media):
    """`plain`: `count` views at equal distances, one array (count, size, size, 3). `varied`: all of
    them, (of, size, size, 3)."""

    dtype = np.uint8

    def __init__(self, config: ViewsConfig):
        self.config = config

    def forms(self) -> tuple[Form, ...]:
        return ("plain", "varied") if self.config.augment else ("plain",)

    def stored(self, form: Form) -> dict[str, Any]:
        return {**self.config.model_dump(mode="json", include={"crop", "size", "of"}), "views": self._views(form)}

    def _views(self, form: Form) -> list[int]:
        config = self.config
        return [i * config.of // config.count for i in range(config.count)] if form == "plain" else [*range(config.of)]

    def read(self, part: Part, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        wanted = sorted({view for form in forms for view in self._views(form)})
        made = {view: self._made(_named(root, part.files[view])) for view in wanted}
        return {form: [np.stack([made[view] for view in self._views(form)])] for form in forms}

    def _made(self, picture: Any) -> Array:
        size, crop = self.config.size, self.config.crop
        left, top = ((side - crop) // 2 for side in picture.size)
        if min(picture.size) > crop:
            picture = picture.crop((left, top, left + crop, top + crop))
        return resized(picture, size, size)


def segments(frames: int, count: int) -> list[tuple[int, int]]:
    """`count` equal segments of a number of frames, as (first, one after the last); where there are fewer frames, some
    are repeated."""
    bounds = [(i * frames // count, (i + 1) * frames // count) for i in range(count)]
    return [(low, high) if high > low else (low, low + 1) for low, high in bounds]


def read_picture(path: Path) -> Any:
    """An RGB picture."""
    pillow = need("PIL.Image", "image")
    try:
        with pillow.open(path) as picture:
            return picture.convert("RGB")
    except (pillow.DecompressionBombError, pillow.UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise MediaError(f"is no picture that can be read: {str(error).replace(str(path), path.name)}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise MediaError(f"is damaged: {error}") from None


def _named(root: Path, file: str) -> Any:
    """A picture of several, whose error says which."""
    try:
        return read_picture(root / file)
    except MediaError as error:
        raise MediaError(f"{Path(file).name} {error}") from None


def resized(picture: Any, width: int, height: int) -> Array:
    """A picture's pixels (height, width, 3), bilinear and over the whole area where it gets smaller, as Pillow does it
    but for a few pixels that round the other way, and in a quarter of the time."""
    pixels: Array = np.array(picture)
    if picture.size == (width, height):
        return pixels
    import torch
    from torch.nn import functional as F

    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    made: Array = F.interpolate(batch, (height, width), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    return made
