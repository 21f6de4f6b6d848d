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
from ibml.data.media.base import Form, Media, MediaError

__all__ = ["Form", "Media", "MediaError", "media_of"]


def media_of(config: Preprocessing) -> Media:
    """What reads a modality of this preprocessing."""
    match config:
        case AudioConfig():
            from ibml.data.media.audio import Audio

            return Audio(config)
        case FramesConfig():
            from ibml.data.media.images import Frames

            return Frames(config)
        case ViewsConfig():
            from ibml.data.media.images import Views

            return Views(config)
        case ImageConfig():
            from ibml.data.media.images import Image

            return Image(config)
        case RawImageConfig():
            from ibml.data.media.arrays import RawImage

            return RawImage()
        case PointsConfig():
            from ibml.data.media.arrays import Points

            return Points()
        case VectorConfig():
            from ibml.data.media.arrays import Vector

            return Vector()
        case TextConfig():
            from ibml.data.media.text import Text

            return Text(config)
        case _:
            raise TypeError(f"nothing reads {type(config).__name__}")
