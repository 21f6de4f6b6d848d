"""Configuration of the recurrent text encoder."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.base import Count
from ibml.config.encoders import BaseEncoderConfig


class TextGRUConfig(BaseEncoderConfig):
    """Word vectors, those of the data or learned ones, and a bidirectional GRU; the maximum over time of the mean of
    both directions."""

    implementation: ClassVar[str] = "ibml.models.encoders.text_gru.encoder:TextGRU"
    takes = frozenset({"text"})
    sample_dimensions: ClassVar[tuple[int, ...] | None] = (1,)
    type: Literal["text_gru"] = "text_gru"
    """Word vectors and a bidirectional GRU (Cho et al. 2014)."""
    embedding: Count = 300
    """Width of the word vectors; where the data brings vectors, it must be theirs."""
    hidden: Count = 512
    """Width of the state of each direction."""
    features: Count = 512
    """Number of features."""
