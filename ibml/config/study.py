"""`StudyConfig`: an ablation file, typed."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from ibml.config.base import Config, Items, Overrides, StudyName
from ibml.config.resources import ResourcesConfig
from ibml.config.space import TuneConfig

Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _printable(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError(f"{name!r} is no name that can be shown")
    return name


Label = Annotated[str, Field(max_length=100), AfterValidator(_printable)]


class ArmsDesign(Config):
    """Named arms, each a set of overrides; every arm is compared with `reference`."""

    type: Literal["arms"] = "arms"
    reference: str
    arms: Annotated[dict[Label, Overrides], Field(min_length=1)]


class OneFactorDesign(Config):
    """Each factor's values one at a time around the base, which is the reference, called `base`."""

    type: Literal["one_factor"] = "one_factor"
    factors: Annotated[dict[str, Annotated[Items[Any], Field(min_length=1)]], Field(min_length=1)]


Design = Annotated[ArmsDesign | OneFactorDesign, Field(discriminator="type")]


def _seeds(value: Any) -> Any:
    """A number of seeds stands for 0 .. number - 1."""
    if isinstance(value, bool) or not isinstance(value, (int, list, tuple)):
        raise ValueError(f"expected a number of seeds or a list of seeds, got {value!r}")
    if isinstance(value, int):
        if not 1 <= value <= 10_000:
            raise ValueError(f"{value} seeds make no study; give at least 1 and at most 10,000")
        return tuple(range(value))
    if len(set(map(repr, value))) < len(value):
        raise ValueError("a seed is listed twice")
    return value


def _datasets(value: Any) -> Any:
    """A list of presets stands for a mapping of names to a base each."""
    if not isinstance(value, (list, tuple)):
        return value
    if not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of presets or a mapping of names to overrides")
    names = [PurePath(item).stem for item in value]
    if len(set(names)) < len(names):
        raise ValueError("a data set is listed twice")
    return {name: {"base": item} for name, item in zip(names, value, strict=True)}


class TableConfig(Config):
    """What the table shows and how arms are compared with the reference."""

    metrics: Annotated[Items[str], Field(min_length=1)] | None = None
    test: Literal["t", "wilcoxon"] = "t"
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05

    @field_validator("metrics")
    @classmethod
    def _each_metric_once(cls, metrics: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if metrics and len(set(metrics)) < len(metrics):
            raise ValueError("a metric is listed twice")
        return metrics


class StudyConfig(Config):
    """An ablation: a design over a base configuration, crossed with data sets and seeds.

    `base` is a preset, a .yaml file or a mapping. `datasets` is a list of presets that take the base's
    place in turn, or a mapping of names to overrides of the base.
    """

    name: StudyName
    description: str = ""
    base: str | Overrides | None = None
    overrides: Overrides = {}
    design: Design
    datasets: Annotated[
        dict[Label, Overrides],
        BeforeValidator(_datasets, json_schema_input_type=dict[str, Overrides] | list[str]),
    ] = {}
    seeds: Annotated[
        Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)],
        BeforeValidator(_seeds, json_schema_input_type=Annotated[int, Field(ge=1)] | list[Seed]),
    ] = (0, 1, 2, 3, 4)
    tune: TuneConfig | None = None
    resources: ResourcesConfig = ResourcesConfig()
    table: TableConfig = TableConfig()
