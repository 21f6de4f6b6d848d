"""Validation of documents and layers: typed configurations, or all their errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import ValidationError

from ibml.common.errors import Problem, SourceLocation
from ibml.common.yaml.documents import Document, KeyPath
from ibml.config.base import Config
from ibml.config.loading.coercion import convert_refused_values
from ibml.config.loading.error_messages import LocatedError, describe_errors, locate_in_data
from ibml.config.loading.layers import Layers
from ibml.config.trial import TrialConfig

C = TypeVar("C", bound=Config)


def parse_document(
    document: Document, model: type[C], entries: Collection[str] = ()
) -> tuple[C | None, list[Problem]]:
    """Validate a document, and report all its errors.

    Sections with errors are removed, so that the rest can be checked in the same run.

    Args:
        document: The document.
        model: The class of the configuration.
        entries: Sections that are mappings of which only the invalid entries are removed.

    Returns:
        The configuration without the invalid sections, or None if they are required; the problems.
    """
    config, error, data = _validate(model, document.data, document.written, any_null=True)
    if error is None:
        return config, []
    found = describe_errors(error, model, data)
    problems = [
        Problem(replace(document.source(path), path=""), message) for path, message in found
    ]
    rest = deepcopy(data)
    for path, _ in found:
        if not path:
            continue
        section = rest.get(str(path[0]))
        if path[0] in entries and len(path) > 1 and isinstance(section, dict):
            section.pop(path[1], None)
        else:
            rest.pop(str(path[0]), None)
    try:
        return model.model_validate({"name": "unnamed", **rest}), problems
    except ValidationError:
        return None, problems


def validate_layers(
    layers: Layers, fallback: SourceLocation
) -> tuple[TrialConfig | None, list[Problem]]:
    """Validate the trial that merged layers describe.

    Args:
        layers: The layers.
        fallback: Location of problems without a known source.

    Returns:
        The trial, or None if there are problems; the problems, each at the source of its value.
    """
    config, error, data = _validate(TrialConfig, layers.data, layers.written)
    if error is None:
        return config, []
    found = describe_errors(error, TrialConfig, data)
    found += _find_remaining_errors(error, data)
    problems = []
    for path, message in found:
        keys = tuple(str(step) for step in path if not isinstance(step, int))
        problems.append(Problem(layers.source(keys, fallback), message))
    return None, problems


def _validate(
    model: type[C], data: dict[str, Any], written: Mapping[KeyPath, str], any_null: bool = False
) -> tuple[C | None, ValidationError | None, dict[str, Any]]:
    """Return the configuration or the error, and the data after conversions."""
    while True:
        try:
            return model.model_validate(data), None, data
        except ValidationError as error:
            again = convert_refused_values(error, model, data, written, any_null)
            if again is None:
                return None, error, data
            data = again


def _find_remaining_errors(error: ValidationError, data: dict[str, Any]) -> list[LocatedError]:
    """Return the errors between sections that are each valid, although others are not.

    Errors about invalid sections are left out, because they would only repeat their own errors.
    """
    wrong = {locate_in_data(details["loc"], data, TrialConfig)[:1] for details in error.errors()}
    wrong.discard(())
    if not wrong or {("data",), ("trainer",)} & wrong:
        return []
    rest = {key: value for key, value in data.items() if (key,) not in wrong}
    try:
        TrialConfig.model_validate(rest)
    except ValidationError as second:
        found = describe_errors(second, TrialConfig, rest)
        return [(path, message) for path, message in found if path[:1] not in wrong]
    return []
