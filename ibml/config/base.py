"""Base class and field types of every configuration class."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


class Config(BaseModel):
    """A frozen configuration: unknown keys are errors, and a value must have its field's type.

    The docstring below a field is its description in the JSON schema.

    Example:
        >>> class Options(Config):
        ...     alpha: NonNegative = 0.5
        ...     '''Weight of the auxiliary loss.'''
        >>> Options(alpha=0.3).alpha
        0.3
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
"""Type of the pydantic error for a null in place of a name."""


def refuse_null(value: Any) -> Any:
    """Raise an error of its own type for a null in place of a name.

    A file may spell a name `null`. The error type lets the loader restore the name as written,
    which it must not do for other text fields.

    Args:
        value: The value as YAML reads it.

    Returns:
        The value, if it is not None.

    Raises:
        PydanticCustomError: The value is None; the error has the type `NULL_NAME`.
    """
    if value is None:
        raise PydanticCustomError(NULL_NAME, "expected text, got nothing")
    return value


def format_scalar(value: bool | float) -> str:
    """Return a number or truth value in YAML notation, for values without source text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


Overrides = dict[str, Any]
"""Dotted paths into a trial's configuration, or nested mappings, with their values."""

FieldErrors = list[tuple[tuple[str, ...], str]]
"""Errors of cross-field validation: path of each field, and the problem."""


class InconsistentConfig(ValueError):
    """Error for fields that are each valid but do not fit together.

    Args:
        errors: Path of each field, and the problem.
    """

    def __init__(self, errors: FieldErrors):
        self.errors = errors
        super().__init__("; ".join(f"{'.'.join(path)}: {message}" for path, message in errors))


class WrongOptions(ValueError):
    """Error for invalid options of a component whose option class is known only at run time.

    Args:
        error: The error of the option class.
        model: The option class.
        options: The invalid options.
    """

    def __init__(self, error: ValidationError, model: type[BaseModel], options: dict[str, Any]):
        self.error = error
        self.model = model
        self.options = options
        super().__init__(str(error))
