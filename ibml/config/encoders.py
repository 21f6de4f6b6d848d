"""Base class of the configurations of encoders: a modality's input (n, ...) -> features (n, `features`).

The configurations are in `ibml.models.encoders.<name>.config`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ibml.common.hashing import hash_content
from ibml.config.base import FieldErrors
from ibml.config.components.component import ComponentConfig
from ibml.config.components.registry import ENCODERS, load_configurations
from ibml.config.preprocessing import ModalityKind

KINDS: dict[ModalityKind, tuple[str, str]] = {
    "vector": ("a vector", "vectors"),
    "image": ("an image", "images"),
    "frames": ("a series of frames", "frames"),
    "audio": ("a spectrogram", "spectrograms"),
    "text": ("a text", "texts"),
    "points": ("a point cloud", "point clouds"),
}
"""One sample of each kind of modality in words, and several."""


class BaseEncoderConfig(ComponentConfig):
    """Base class of the configurations of encoders. The implementation is called with what `build_arguments` returns."""

    takes: ClassVar[frozenset[ModalityKind]]
    """The kinds of modalities that the encoder accepts."""
    sample_dimensions: ClassVar[tuple[int, ...] | None] = None
    """The numbers of dimensions that one sample may have; None: the implementation checks them."""

    if TYPE_CHECKING:

        @property
        def features(self) -> int:
            """The number of features. Each class has it as a field."""

    @property
    def files(self) -> dict[str, Path]:
        """Field -> the file or folder that it names; a trial's key depends on what is in it, not on where it is."""
        return {}

    def for_inference(self) -> Self:
        """The configuration that builds the encoder again where its weights are at hand."""
        return self

    def build_arguments(self, spec: Any) -> tuple[Any, ...]:
        """Return the arguments of the implementation for samples described by an `ibml.inputs.InputSpec`."""
        return self, spec

    def find_field_errors(self, modality: str, kind: ModalityKind) -> FieldErrors:
        """Return why the encoder does not suit a modality of a kind, with paths below the encoder's own."""
        if kind in self.takes:
            return []
        one, _ = KINDS[kind]
        suitable = [
            name for name, part in load_configurations(ENCODERS).items() if kind in part.takes
        ]
        wrong = f"{self.type!r} takes {self.describe_inputs()}, and {modality} is {one}"
        return [((), f"{wrong}; these fit: {', '.join(suitable)}")]

    def build_canonical_form(self) -> dict[str, Any]:
        """Return everything in this configuration that determines the result, as plain data."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain | {field: hash_content(path) for field, path in self.files.items()}

    def describe_inputs(self) -> str:
        """Return the kinds of modalities that the encoder accepts, in words."""
        *before, last = [several for kind, (_, several) in KINDS.items() if kind in self.takes]
        return f"{', '.join(before)} and {last}" if before else last


DEFAULT_ENCODER_TYPE = "mlp"
"""The type of an encoder that is given without one."""
