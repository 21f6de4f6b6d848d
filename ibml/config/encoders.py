"""Base class of encoder configurations: input of a modality (n, ...) -> features (n, `features`).

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
"""Kind of modality -> one sample in words, several samples in words."""


class BaseEncoderConfig(ComponentConfig):
    """Base class of encoder configurations.

    The constructor of the implementation is called with the result of `build_arguments`.
    """

    takes: ClassVar[frozenset[ModalityKind]]
    """Kinds of modalities that the encoder accepts."""
    sample_dimensions: ClassVar[tuple[int, ...] | None] = None
    """Accepted numbers of dimensions of one sample; None: the implementation checks them."""

    if TYPE_CHECKING:

        @property
        def features(self) -> int:
            """Number of output features; every subclass declares it as a field."""

    @property
    def files(self) -> dict[str, Path]:
        """Field -> file or folder that it names.

        The trial key depends on the content of these files, not on their paths.
        """
        return {}

    def for_inference(self) -> Self:
        """Return this configuration without files of initial weights."""
        return self

    def build_arguments(self, spec: Any) -> tuple[Any, ...]:
        """Return the constructor arguments of the implementation.

        Args:
            spec: `ibml.inputs.InputSpec` of the modality's samples.

        Returns:
            Positional arguments.
        """
        return self, spec

    def find_field_errors(self, modality: str, kind: ModalityKind) -> FieldErrors:
        """Return an error if the encoder does not accept a modality.

        Args:
            modality: Name of the modality.
            kind: Kind of the modality.

        Returns:
            Errors whose paths are relative to the encoder's configuration.
        """
        if kind in self.takes:
            return []
        one, _ = KINDS[kind]
        suitable = [
            name for name, part in load_configurations(ENCODERS).items() if kind in part.takes
        ]
        wrong = f"{self.type!r} takes {self.describe_inputs()}, and {modality} is {one}"
        return [((), f"{wrong}; these fit: {', '.join(suitable)}")]

    def build_canonical_form(self) -> dict[str, Any]:
        """Return everything in this configuration that determines a trial's result.

        Returns:
            Plain data, in which the hash of its content replaces each file.
        """
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain | {field: hash_content(path) for field, path in self.files.items()}

    def describe_inputs(self) -> str:
        """Format the accepted kinds of modalities, for example `images and frames`."""
        *before, last = [several for kind, (_, several) in KINDS.items() if kind in self.takes]
        return f"{', '.join(before)} and {last}" if before else last


DEFAULT_ENCODER_TYPE = "mlp"
"""Type of an encoder whose configuration has no `type`."""
