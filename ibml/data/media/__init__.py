"""Media: how a part of a sample becomes arrays, one file a kind."""

from __future__ import annotations

from ibml.config.preprocessing import (
    AudioConfig,
    FramesConfig,
    ImageConfig,
    PointsConfig,
    Preprocessing,
    RawImageConfig,
    TextConfig,
    VectorConfig,
    ViewsConfig,
)
from ibml.data.media.arrays import Points, RawImage, Vector
from ibml.data.media.audio import Audio
from ibml.data.media.base import Form, Media, MediaError
from ibml.data.media.images import Frames, Image, Views
from ibml.data.media.text import Text

__all__ = ["Form", "Media", "MediaError", "media_of"]


def media_of(config: Preprocessing) -> Media:
    """What reads a modality of this preprocessing; `ibml.data.files.loading` has what then feeds it to the trainer."""
    match config:
        case AudioConfig():
            return Audio(config)
        case FramesConfig():
            return Frames(config)
        case ViewsConfig():
            return Views(config)
        case ImageConfig():
            return Image(config)
        case RawImageConfig():
            return RawImage()
        case PointsConfig():
            return Points()
        case VectorConfig():
            return Vector()
        case TextConfig():
            return Text(config)
        case _:
            raise TypeError(f"nothing reads {type(config).__name__}")
