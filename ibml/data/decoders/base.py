"""Base class of decoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ibml.data.listing import SamplePart

Array = npt.NDArray[Any]

Form = Literal["plain", "varied"]
"""`plain` is the form for evaluation. `varied` is the form for training, where they differ."""


class DecodeError(ValueError):
    """Raw content that cannot be decoded.

    The message is the predicate of a sentence whose subject is the file.
    """


class Decoder(ABC):
    """Base class of decoders of one kind of modality.

    A sample may become several arrays, for instance one per frame.

    Attributes:
        wire_name: Name in the keys of stores on disk. It must never change, even if the class is
            renamed.
        revision: Increased when the same content is decoded to other arrays.
        dtype: Type of the stored values.
        vocabulary: Words decoded so far and their numbers, for text.
    """

    wire_name: ClassVar[str]
    revision: ClassVar[int] = 1
    dtype: ClassVar[type[np.generic]]
    vocabulary: Mapping[str, int] = MappingProxyType({})

    def get_forms(self) -> tuple[Form, ...]:
        """Return the forms in which training or evaluation needs the samples."""
        return ("plain",)

    @abstractmethod
    def get_settings(self, form: Form) -> dict[str, Any]:
        """Return all settings that determine the arrays of a form, for the key of their store."""

    @abstractmethod
    def decode(
        self, part: SamplePart, root: Path, forms: Sequence[Form]
    ) -> dict[Form, list[Array]]:
        """Decode one sample.

        Args:
            part: Raw content of the sample.
            root: Folder of the data set.
            forms: Forms to return.

        Returns:
            The arrays of the sample in each form.

        Raises:
            DecodeError: The content cannot be decoded.
            OSError: A file cannot be read.
        """
