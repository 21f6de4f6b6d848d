"""Every field of every configuration has a description, and the schema shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from ibml.config.base import Config
from ibml.config.descriptions import get_field_descriptions
from ibml.config.loading.json_schema import build_schema
from ibml.config.search.space import SearchSpaceConfig
from ibml.config.study.study import StudyConfig
from ibml.config.trial import TrialConfig


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def reachable(*roots: type[BaseModel]) -> list[type[BaseModel]]:
    """The roots, all models in their fields, and the configurations that these derive from."""
    found: dict[type[BaseModel], None] = {}
    waiting = list(roots)
    while waiting:
        model = waiting.pop()
        if model not in found:
            found[model] = None
            for field in model.model_fields.values():
                waiting += models_in(field.annotation)
                waiting += [part for extra in field.metadata for part in models_in(extra)]
    return sorted(found, key=lambda m: f"{m.__module__}.{m.__name__}")


MODELS = reachable(TrialConfig, StudyConfig, SearchSpaceConfig)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_has_a_description(model: type[BaseModel]) -> None:
    assert model.__doc__
    assert set(model.model_fields) - set(get_field_descriptions(model)) == set()


def test_the_walk_reaches_what_is_inside_lists_mappings_and_unions() -> None:
    names = {model.__name__ for model in MODELS}
    assert {
        "SGDConfig",
        "TPEConfig",
        "Between",
        "FactorialDesign",
        "AdaptiveSeeds",
        "ResourcesConfig",
    } <= names


def test_schemas_show_the_descriptions() -> None:
    made = build_schema("ablation")
    assert (
        made["properties"]["seeds"]["description"] == get_field_descriptions(StudyConfig)["seeds"]
    )
    assert made["$defs"]["TableConfig"]["properties"]["alpha"]["description"].startswith(
        "Level of significance"
    )
    assert build_schema("search")["$defs"]["TPEConfig"]["properties"]["group"][
        "description"
    ].startswith("Model parameters")


class Base(Config):
    first: int = 1
    """The first,
    on two lines."""
    bare: int = 2


class Derived(Base):
    second: int = 3
    """The second."""
    bare: int = 4
    """Now described."""


def test_descriptions_are_inherited_and_replaced() -> None:
    assert get_field_descriptions(Base) == {"first": "The first, on two lines."}
    assert get_field_descriptions(Derived) == {
        "first": "The first, on two lines.",
        "bare": "Now described.",
        "second": "The second.",
    }
