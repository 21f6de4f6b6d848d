"""Descriptions of configuration fields: the string literals below them.

They are read when a schema is asked for. pydantic's `use_attribute_docstrings` parses the source of every class at
import, which takes a fifth of the time of `ibml --help`.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from pydantic import BaseModel


def describe_fields(model: type[BaseModel]) -> dict[str, str]:
    """Return the description of each field of a model that has one, inherited fields included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _read_docstrings(base)
    explicit = {name: field.description for name, field in model.model_fields.items() if field.description}
    return {name: text for name, text in {**found, **explicit}.items() if name in model.model_fields}


def _read_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the string literals that follow the fields in a class's own source; none where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(model))
    except (OSError, TypeError):
        return {}
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef), "the source of a class is a class"
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[field.target.id] = " ".join(after.value.value.split())
    return found
