"""Descriptions of configuration fields, read from the docstrings below the fields.

They are read on demand, for schemas and references. Pydantic's `use_attribute_docstrings` reads
them when a class is created, which adds 0.1 s to every command.
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
    """Return the description of each field that has one, as a single line.

    A description given to `pydantic.Field` has priority. A docstring in a subclass overrides that
    of the base class.

    Args:
        model: A configuration class. Without its source, docstrings are not found.

    Returns:
        Field -> description.
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel):
            found |= _extract_attribute_docstrings(base)
    descriptions = {}
    for name, info in model.model_fields.items():
        text = info.description or found.get(name)
        if text is not None:
            descriptions[name] = " ".join(text.split())
    return descriptions


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
        match text:
            case ast.Expr(value=ast.Constant(value=str(docstring))):
                found[field.target.id] = docstring
    return found


@cache
def _parse_module(name: str) -> list[ast.stmt]:
    try:
        return ast.parse(inspect.getsource(sys.modules[name])).body
    except (KeyError, OSError, TypeError, SyntaxError):
        return []
