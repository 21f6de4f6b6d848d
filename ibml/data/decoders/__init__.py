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
from ibml.data.decoders.arrays import PointsDecoder, RawImageDecoder, VectorDecoder
from ibml.data.decoders.audio import AudioDecoder
from ibml.data.decoders.base import DecodeError, Decoder, Form
from ibml.data.decoders.images import FramesDecoder, ImageDecoder, ViewsDecoder
from ibml.data.decoders.text import TextDecoder

__all__ = ["DecodeError", "Decoder", "Form", "build_decoder"]


def build_decoder(config: Preprocessing) -> Decoder:
    """What reads a modality of this preprocessing; `ibml.data.files.loading` has what then feeds it to the trainer."""
    match config:
        case AudioConfig():
            return AudioDecoder(config)
        case FramesConfig():
            return FramesDecoder(config)
        case ViewsConfig():
            return ViewsDecoder(config)
        case ImageConfig():
            return ImageDecoder(config)
        case RawImageConfig():
            return RawImageDecoder()
        case PointsConfig():
            return PointsDecoder()
        case VectorConfig():
            return VectorDecoder()
        case TextConfig():
            return TextDecoder(config)
        case _:
            raise TypeError(f"nothing reads {type(config).__name__}")
