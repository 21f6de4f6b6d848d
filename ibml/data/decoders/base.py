"""What all media share: a part of a sample is read once and becomes the arrays that are stored."""

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
"""`plain` is what evaluation sees; `varied` is what training draws from, where that is something else."""


class DecodeError(ValueError):
    """A part of a sample that cannot be used, and why."""


class Decoder(ABC):
    """Reads one kind of modality. A sample may become several arrays, for instance one a frame."""

    wire_name: ClassVar[str]
    """Name in the keys of stores on disk; it must never change, whatever the class is called."""
    revision: ClassVar[int] = 1
    """To be raised when the same part comes to give other arrays."""
    dtype: ClassVar[type[np.generic]]
    """The type of what is stored."""
    vocabulary: Mapping[str, int] = MappingProxyType({})
    """Of text, the words read so far and the numbers that stand for them."""

    def get_forms(self) -> tuple[Form, ...]:
        """The forms that there are."""
        return ("plain",)

    @abstractmethod
    def get_settings(self, form: Form) -> dict[str, Any]:
        """All settings that determine a form's arrays."""

    @abstractmethod
    def read(self, part: SamplePart, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        """A sample's arrays in each form; raises `DecodeError`, `OSError`."""
