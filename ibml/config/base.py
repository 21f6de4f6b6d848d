"""Base class and field types of every configuration class."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


class Config(BaseModel):
    """A frozen configuration: unknown keys are errors, and a value must have its field's type.

    The docstring below a field is its description in the JSON schema.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        from ibml.config.descriptions import get_field_descriptions

        schema = handler(core_schema)
        fields = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in get_field_descriptions(cls).items():
            fields.get(name, {}).setdefault("description", text)
        return schema


# YAML has lists only; a frozen configuration keeps them as tuples.
T = TypeVar("T")
Items = Annotated[tuple[T, ...], Field(strict=False)]

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=10**9)]

NULL_NAME = "null_name"
"""The type of pydantic's error for a null where a name is expected."""


def refuse_null(value: Any) -> Any:
    """Tell a null that may be a name, as it is written, from a null where other text is expected."""
    if value is None:
        raise PydanticCustomError(NULL_NAME, "expected text, got nothing")
    return value


def format_scalar(value: bool | float) -> str:
    """Return a number or a truth value as YAML writes it, where the text in the file is not known."""
    return str(value).lower() if isinstance(value, bool) else str(value)


Overrides = dict[str, Any]
"""Dotted paths into a trial's configuration, or nested mappings, with their values."""

FieldErrors = list[tuple[tuple[str, ...], str]]
"""What does not fit together: the path of each, and what is wrong with it."""


class InconsistentConfig(ValueError):
    """Fields that are each valid but do not fit together: a list of (path, message)."""

    def __init__(self, errors: FieldErrors):
        self.errors = errors
        super().__init__("; ".join(f"{'.'.join(path)}: {message}" for path, message in errors))


class WrongOptions(ValueError):
    """Options that their own model, which the configuration around them does not know, refuses."""

    def __init__(self, error: ValidationError, model: type[BaseModel], options: dict[str, Any]):
        self.error, self.model, self.options = error, model, options
        super().__init__(str(error))
