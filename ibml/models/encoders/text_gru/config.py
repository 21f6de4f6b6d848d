"""Configuration of the recurrent text encoder."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.base import Count
from ibml.config.encoders import BaseEncoderConfig


class TextGRUConfig(BaseEncoderConfig):
    """Word vectors, of the data or learned, and a bidirectional GRU.

    The features are the maximum over time of the mean of both directions.
    """

    implementation: ClassVar[str] = "ibml.models.encoders.text_gru.encoder:TextGRU"
    takes = frozenset({"text"})
    sample_dimensions: ClassVar[tuple[int, ...] | None] = (1,)
    type: Literal["text_gru"] = "text_gru"
    """Word vectors and a bidirectional GRU (Cho et al. 2014)."""
    embedding: Count = 300
    """Width of the word vectors; must match the vectors of the data, if there are any."""
    hidden: Count = 512
    """Width of the state of each direction."""
    features: Count = 512
    """Number of features."""
