"""The registries of components: lookup, configurations without torch, descriptions of fields."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from ibml.config.base import Config
from ibml.config.component_unions import EncoderPluginConfig, FusionPluginConfig, MethodPluginConfig
from ibml.config.components.registry import (
    ENCODERS,
    FUSIONS,
    METHODS,
    load_class,
    load_configurations,
)
from ibml.config.descriptions import get_field_descriptions
from ibml.config.encoders import BaseEncoderConfig
from ibml.config.fusion import BaseFusionConfig
from ibml.config.loading.annotations import get_union_members, unwrap_annotation
from ibml.config.loading.json_schema import build_schema
from ibml.config.methods.base import BaseMethodConfig, WindowedMethodConfig
from ibml.config.optimization import TrainerConfig
from ibml.config.trial import TrialConfig
from ibml.methods.base import Method
from ibml.methods.ibml.config import IBMLConfig
from ibml.methods.pmr.config import PMRConfig
from ibml.models.fusion import Fusion

REGISTRIES = {
    "method": (METHODS, BaseMethodConfig, MethodPluginConfig),
    "fusion": (FUSIONS, BaseFusionConfig, FusionPluginConfig),
    "encoders": (ENCODERS, BaseEncoderConfig, EncoderPluginConfig),
}
COMPONENTS = [target for registry, _, _ in REGISTRIES.values() for target in registry.values()]
HEAVY = ("torch", "numpy", "ray", "mlflow")


def union(field: str) -> dict[str, Any]:
    annotation = TrialConfig.model_fields[field].annotation
    return get_union_members(
        unwrap_annotation(get_args(annotation)[1] if field == "encoders" else annotation)
    )


@pytest.mark.parametrize("field", REGISTRIES)
def test_the_trial_accepts_what_the_registry_has_and_a_plugin(field: str) -> None:
    registry, base, plugin = REGISTRIES[field]
    expected = {**load_configurations(registry), "plugin": plugin}
    assert list(union(field).items()) == list(expected.items())
    assert all(issubclass(found, base) for found in expected.values())


@pytest.mark.parametrize("target", COMPONENTS)
def test_a_component_is_in_one_folder(target: str) -> None:
    found = load_class(target)
    folder = target.partition(":")[0].rpartition(".")[0]
    assert folder.rpartition(".")[2] == found.model_fields["type"].default
    assert found.implementation.startswith(f"{folder}.")
    assert isinstance(load_class(found.implementation), type)


def test_implementations_are_methods_and_fusions() -> None:
    for registry, base in ((METHODS, Method), (FUSIONS, Fusion)):
        for found in load_configurations(registry).values():
            assert issubclass(load_class(found.implementation), base)


def test_configurations_import_nothing_heavy() -> None:
    """In a process that has imported nothing else: the `__init__` of each package counts too."""
    lines = [
        "import importlib, sys; heavy = set(); "
        f"names = {[target.partition(':')[0] for target in COMPONENTS]}"
    ]
    lines += ["for name in names:", " importlib.import_module(name)"]
    lines += [f"print(sorted(name for name in {HEAVY} if name in sys.modules))"]
    script = "\n".join(lines)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("field", REGISTRIES)
def test_a_configuration_can_be_the_first_import(field: str) -> None:
    """No cycle of imports depends on the order of imports."""
    target = next(iter(REGISTRIES[field][0].values()))
    script = f"import {target.partition(':')[0]}"
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)


def test_a_wrong_name_in_a_registry_is_found_at_import() -> None:
    target = METHODS["pmr"]
    with pytest.raises(
        TypeError, match=rf"{target} has type 'pmr', but the registry calls it 'prm'"
    ):
        load_configurations({"prm": target})


def configurations() -> Iterator[type[Config]]:
    """The configurations of all components, and those inside them."""
    waiting: list[type[Any]] = [TrainerConfig]
    for field in ("method", "fusion", "encoders", "optimizer", "schedule"):
        waiting += union(field).values()
    seen: set[type[Any]] = set()
    while waiting:
        found = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        yield found
        inner = [unwrap_annotation(info.annotation) for info in found.model_fields.values()]
        waiting += [
            part for part in inner if isinstance(part, type) and issubclass(part, BaseModel)
        ]


@pytest.mark.parametrize("model", configurations(), ids=lambda model: model.__name__)
def test_every_field_has_a_description(model: type[Config]) -> None:
    descriptions = get_field_descriptions(model)
    assert [
        name for name in model.model_fields if not descriptions.get(name, "").endswith(".")
    ] == []


def test_heads_of_methods_have_descriptions() -> None:
    for found in load_configurations(METHODS).values():
        head = found.model_construct().head
        if head is not None:
            assert set(get_field_descriptions(type(head))) == set(type(head).model_fields)


def test_the_schema_shows_descriptions() -> None:
    definitions = build_schema("trial")["$defs"]
    own = get_field_descriptions(IBMLConfig)["window"]
    inherited = get_field_descriptions(PMRConfig)
    assert own != inherited["window"] == get_field_descriptions(WindowedMethodConfig)["window"]
    properties = definitions["PMRConfig"]["properties"]
    assert properties["momentum"]["description"] == inherited["momentum"]
    # of a base class, on a field that refers to a definition
    assert properties["window"]["description"] == inherited["window"]
    assert definitions["IBMLConfig"]["properties"]["window"]["description"] == own


class Base(Config):
    first: int = 0
    """Of the base
    class."""
    second: int = 0
    """Of the base class."""
    third: int = 0


class Derived(Base):
    class Inner(Config):
        value: int = 0
        """Of a nested class."""

    second: int = 1
    """Of the subclass."""
    inner: Inner = Inner()


def test_descriptions_follow_inheritance() -> None:
    assert get_field_descriptions(Derived) == {
        "first": "Of the base class.",
        "second": "Of the subclass.",
    }
    assert get_field_descriptions(Derived.Inner) == {"value": "Of a nested class."}


def test_a_class_without_source_has_no_descriptions() -> None:
    namespace: dict[str, Any] = {"Config": Config, "__name__": "nowhere"}
    exec('class Made(Config):\n    value: int = 0\n    """Lost."""\n', namespace)
    assert get_field_descriptions(namespace["Made"]) == {}
    assert "description" not in namespace["Made"].model_json_schema()["properties"]["value"]
