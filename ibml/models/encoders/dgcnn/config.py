"""Configuration of the dynamic graph CNN."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ibml.config.base import Count
from ibml.config.encoders import BaseEncoderConfig


class DGCNNConfig(BaseEncoderConfig):
    """Dynamic graph CNN over points (Wang et al. 2019)."""

    implementation: ClassVar[str] = "ibml.models.encoders.dgcnn.encoder:DGCNN"
    takes = frozenset({"points"})
    sample_dimensions: ClassVar[tuple[int, ...] | None] = (2,)
    type: Literal["dgcnn"] = "dgcnn"
    """Dynamic graph CNN over points (Wang et al. 2019)."""
    k: Count = 20
    """Number of neighbours of a point, itself included; clouds of fewer points use all of them."""
    features: Count = 512
    """Number of features."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout between the last linear layers, from 0 to below 1."""
