"""Descriptions of configuration fields: the docstrings below the fields in the source.

They are read when a schema or a reference needs them. Pydantic's `use_attribute_docstrings` reads them when a class is
created, which adds 0.1 s to every command.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


@cache
def get_field_descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the description of each field that has one, in one line.

    A description given to `pydantic.Field` has priority; a subclass's docstring overrides its base class's.

    Args:
        model: A configuration class. Descriptions are missing where its source is not available.
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel):
            found |= _extract_attribute_docstrings(base)
    found |= {
        name: info.description for name, info in model.model_fields.items() if info.description
    }
    return {name: " ".join(found[name].split()) for name in model.model_fields if name in found}


def _extract_attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the strings that directly follow annotated names in the body of a class."""
    body: list[ast.stmt] = _parse_module(model.__module__)
    for name in model.__qualname__.split("."):
        classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == name]
        if not classes:
            return {}
        body = classes[-1].body
    found = {}
    for field, text in pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if (
            isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            found[field.target.id] = text.value.value
    return found


@cache
def _parse_module(name: str) -> list[ast.stmt]:
    try:
        return ast.parse(inspect.getsource(sys.modules[name])).body
    except (KeyError, OSError, TypeError, SyntaxError):
        return []
