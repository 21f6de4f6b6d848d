"""Normalization of names that users write.

Surrounding spaces are removed, and accents are composed (Unicode NFC), because some systems write
`é` as two characters. Upper and lower case are different.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field

from ibml.config.base import refuse_null

V = TypeVar("V")


def normalize_name(name: V) -> V:
    """Return a name in Unicode NFC without surrounding spaces; return other types unchanged."""
    if not isinstance(name, str):
        return name
    return unicodedata.normalize("NFC", name).strip()  # type: ignore[return-value]


Name = Annotated[
    str,
    BeforeValidator(normalize_name),
    BeforeValidator(refuse_null, json_schema_input_type=str | int | float | bool | None),
]
"""A name. `ibml.config.loading.coercion` restores names that YAML reads as a number, truth value or
null."""
_STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
StudyName = Annotated[
    Name, Field(pattern=_STUDY_NAME, max_length=80, json_schema_extra={"pattern": _STUDY_NAME})
]
