"""Configuration of ResNet-18."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from ibml.config.base import Count, FieldErrors, InconsistentConfig
from ibml.config.encoders import BaseEncoderConfig
from ibml.config.preprocessing import ModalityKind


class ResNet18Config(BaseEncoderConfig):
    """ResNet-18 (He et al. 2016) over images, spectrograms, frames or views.

    The features of several frames or views are averaged.
    """

    implementation: ClassVar[str] = "ibml.models.encoders.resnet18.encoder:ResNet18"
    takes = frozenset({"audio", "image", "frames"})
    sample_dimensions: ClassVar[tuple[int, ...] | None] = (3, 4)
    type: Literal["resnet18"] = "resnet18"
    """ResNet-18 (He et al. 2016) over images, frames, views or spectrograms."""
    features: Count = 512
    """Number of features."""
    width: Count = 64
    """Channels of the first of four stages; each of the others has twice those before it."""
    head: bool = False
    """Add a linear layer, batch normalization and ReLU for each frame or view before the
    average."""
    weights: str | None = None
    """File of initial weights, .pth or .safetensors, with torchvision's names; null: random
    weights."""

    @field_validator("weights")
    @classmethod
    def _check_weights_file(cls, weights: str | None) -> str | None:
        if weights is not None and not weights.endswith((".pth", ".safetensors")):
            raise ValueError(f"{weights!r} is no .pth or .safetensors file")
        if weights is not None and not Path(weights).is_file():
            raise ValueError(f"there is no file {weights!r}")
        return weights

    @model_validator(mode="after")
    def _check_width_of_weights(self) -> Self:
        if self.weights is not None and self.width != 64:
            raise InconsistentConfig(
                [(("weights",), f"weights are for width 64, not {self.width}")]
            )
        return self

    def find_field_errors(self, modality: str, kind: ModalityKind) -> FieldErrors:
        """Return errors of the base class, and of weights for a modality with one channel.

        Args:
            modality: Name of the modality.
            kind: Kind of the modality.

        Returns:
            Paths below the encoder, and messages.
        """
        errors = super().find_field_errors(modality, kind)
        if not errors and kind == "audio" and self.weights:
            return [(("weights",), f"weights are for three channels, and {modality} has one")]
        return errors

    @property
    def files(self) -> dict[str, Path]:
        """Folders and files whose content determines the result, by field."""
        return {} if self.weights is None else {"weights": Path(self.weights)}

    def for_inference(self) -> Self:
        """Return the configuration without initial weights, which a trained model replaces."""
        return self.model_copy(update={"weights": None})
