"""Documents and layers as typed configurations, or everything that is wrong with them."""

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
    """The configuration in a document and what is wrong with it. Keys that are wrong but not needed are left out, so
    that the rest is checked in the same run; of the mappings named by `entries` only the entries that are wrong."""
    config, error, data = _validate(model, document.data, document.written, any_null=True)
    if error is None:
        return config, []
    found = describe_errors(error, model, data)
    problems = [
        Problem(replace(document.source(path), path=""), message) for path, message in found
    ]
    rest = deepcopy(data)
    for path in [path for path, _ in found if path]:
        if path[0] in entries and len(path) > 1 and isinstance(rest.get(str(path[0])), dict):
            rest[str(path[0])].pop(path[1], None)
        else:
            rest.pop(str(path[0]), None)
    try:
        return model.model_validate({"name": "unnamed", **rest}), problems
    except ValidationError:
        return None, problems


def validate_layers(
    layers: Layers, fallback: SourceLocation
) -> tuple[TrialConfig | None, list[Problem]]:
    """The trial that the layers describe, or what is wrong, each at the place that wrote the value."""
    config, error, data = _validate(TrialConfig, layers.data, layers.written)
    if error is None:
        return config, []
    found = describe_errors(error, TrialConfig, data)
    found += _find_remaining_errors(error, data)
    return None, [
        Problem(
            layers.source(tuple(str(step) for step in path if not isinstance(step, int)), fallback),
            message,
        )
        for path, message in found
    ]


def _validate(
    model: type[C], data: dict[str, Any], written: Mapping[KeyPath, str], any_null: bool = False
) -> tuple[C | None, ValidationError | None, dict[str, Any]]:
    """Return the configuration in the data, or the error, and the data as they were read in the end."""
    while True:
        try:
            return model.model_validate(data), None, data
        except ValidationError as error:
            again = convert_refused_values(error, model, data, written, any_null)
            if again is None:
                return None, error, data
            data = again


def _find_remaining_errors(error: ValidationError, data: dict[str, Any]) -> list[LocatedError]:
    """Sections that do not fit together, although other sections have errors of their own.

    A finding about sections that are wrong themselves would only repeat their errors.
    """
    wrong = {
        locate_in_data(details["loc"], data, TrialConfig)[:1] for details in error.errors()
    } - {()}
    if not wrong or {("data",), ("trainer",)} & wrong:
        return []
    rest = {key: value for key, value in data.items() if (key,) not in wrong}
    try:
        TrialConfig.model_validate(rest)
    except ValidationError as second:
        return [f for f in describe_errors(second, TrialConfig, rest) if f[0][:1] not in wrong]
    return []
