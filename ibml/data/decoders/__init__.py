"""Decoders: one class per kind of modality, which turns raw content into arrays."""

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
    """Build the decoder of a modality.

    `ibml.data.files.loading` has the batch transform that reads the decoded arrays.

    Args:
        config: Preprocessing of the modality.

    Returns:
        The decoder.

    Raises:
        TypeError: There is no decoder for this preprocessing.
    """
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
            raise TypeError(f"there is no decoder for {type(config).__name__}")
