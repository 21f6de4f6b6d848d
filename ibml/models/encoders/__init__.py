"""Encoders: input of one modality, (n, ...), to features, (n, `config.features`).

Each encoder has a folder: `config.py` without torch, and `encoder.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibml.config.encoders import BaseEncoderConfig

if TYPE_CHECKING:
    from torch import nn

    from ibml.inputs import InputSpec

__all__ = ["build_encoder"]


def build_encoder(config: BaseEncoderConfig, spec: InputSpec) -> nn.Module:
    """Build the encoder of a modality, built-in or plug-in.

    Args:
        config: Configuration of the encoder.
        spec: Samples of the modality.

    Returns:
        The encoder, with the initialization of its constructor.

    Raises:
        ValueError: The encoder does not accept such samples.
        IbmlError: A file of weights cannot be used.

    Example:
        >>> import torch
        >>> from ibml.inputs import InputSpec
        >>> from ibml.models.encoders import build_encoder
        >>> from ibml.models.encoders.mlp.config import MLPConfig
        >>> config = MLPConfig(hidden=(16,), features=6)
        >>> encoder = build_encoder(config, InputSpec(shape=(5,)))
        >>> encoder(torch.randn(8, 5)).shape
        torch.Size([8, 6])
    """
    dimensions = config.sample_dimensions
    if dimensions is not None and len(spec.shape) not in dimensions:
        accepted = config.describe_inputs()
        raise ValueError(
            f"encoder {config.type!r} takes {accepted}, but a sample has shape {spec.shape}"
        )
    encoder: nn.Module = config.load_implementation()(*config.build_arguments(spec))
    return encoder
