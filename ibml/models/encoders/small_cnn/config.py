"""Configuration of the small convolutional network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from ibml.config.base import Count, Items
from ibml.config.encoders import BaseEncoderConfig


class SmallCNNConfig(BaseEncoderConfig):
    """Small convolutional network.

    A convolution, ReLU and 2x2 max-pooling for each number of channels, then a linear layer and
    ReLU.
    """

    implementation: ClassVar[str] = "ibml.models.encoders.small_cnn.encoder:SmallCNN"
    takes = frozenset({"audio", "image", "frames"})
    sample_dimensions: ClassVar[tuple[int, ...] | None] = (3, 4)
    type: Literal["small_cnn"] = "small_cnn"
    """Small convolutional network, for small images."""
    channels: Annotated[Items[Count], Field(min_length=1)] = (96, 64)
    """Channels of each convolution; each is followed by ReLU and a 2x2 max-pooling."""
    kernel: Annotated[int, Field(ge=1, le=31)] = 3
    """Size of the kernels in pixels, odd, at most 31."""
    features: Count = 512
    """Number of features."""
    pooling: Literal["flatten", "average"] = "flatten"
    """Input of the linear layer: `flatten`, every position; `average`, their mean, for large
    inputs."""

    @field_validator("kernel")
    @classmethod
    def _check_kernel_is_odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(
                f"{kernel} is even; a kernel needs an odd size, so that the image keeps its size"
            )
        return kernel
