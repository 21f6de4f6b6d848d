"""Names that users write: the same name is the same text, whoever typed it.

Spaces around a name do not count, and accents are composed (Unicode NFC): some systems write `é` as two characters.
Upper and lower case are different.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field

from ibml.config.base import refuse_null

V = TypeVar("V")


def normalize_name(name: V) -> V:
    """Return a name without spaces around it, accents composed; anything but text as it is."""
    return unicodedata.normalize("NFC", name).strip() if isinstance(name, str) else name  # type: ignore[return-value]


Name = Annotated[
    str,
    BeforeValidator(normalize_name),
    BeforeValidator(refuse_null, json_schema_input_type=str | int | float | bool | None),
]
"""A name. In a file it may look like a number, a truth value or null; `ibml.config.loading.validation` takes it as
written."""
_STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
StudyName = Annotated[
    Name, Field(pattern=_STUDY_NAME, max_length=80, json_schema_extra={"pattern": _STUDY_NAME})
]
