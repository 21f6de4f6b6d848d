"""Encoders: one modality's input (n, ...) -> features (n, `config.features`).

One folder each: `config.py` without torch, and `encoder.py`.
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
        config: The configuration of the encoder.
        spec: The samples of the modality.

    Raises:
        ValueError: The encoder does not take such samples.
        IbmlError: A file of weights cannot be used.
    """
    dimensions = config.sample_dimensions
    if dimensions is not None and len(spec.shape) not in dimensions:
        taken = config.describe_inputs()
        raise ValueError(
            f"encoder {config.type!r} takes {taken}, but a sample has shape {spec.shape}"
        )
    encoder: nn.Module = config.load_implementation()(*config.build_arguments(spec))
    return encoder
