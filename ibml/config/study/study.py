"""`StudyConfig`: an ablation file, typed."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BeforeValidator

from ibml.config.base import Config, Overrides, format_scalar
from ibml.config.names import StudyName, normalize_name
from ibml.config.resources import ResourcesConfig
from ibml.config.search.space import TuneConfig
from ibml.config.study.designs import Design, Label
from ibml.config.study.seeds import DEFAULT_SEEDS, AdaptiveSeeds, Seeds
from ibml.config.study.table import TableConfig


def _expand_datasets(value: Any) -> Any:
    """A list of presets stands for a mapping of names to a base each."""
    if not isinstance(value, (list, tuple)):
        return value
    if not all(isinstance(item, str | bool | int | float) for item in value):
        raise ValueError("expected a list of presets or a mapping of names to overrides")
    bases = [item if isinstance(item, str) else format_scalar(item) for item in value]
    names = [normalize_name(PurePath(base).stem) for base in bases]
    if len(set(names)) < len(names):
        raise ValueError("a data set is listed twice")
    return {name: {"base": base} for name, base in zip(names, bases, strict=True)}


class StudyConfig(Config):
    """An ablation: a design over a base configuration, crossed with data sets and seeds.

    `base` is a preset, a .yaml file or a mapping. `datasets` is a list of presets that take the base's
    place in turn, or a mapping of names to overrides of the base.
    """

    name: StudyName
    """Name of the study in MLflow and on the command line."""
    description: str = ""
    """Description for readers of the report."""
    base: str | Overrides | None = None
    """Preset, .yaml file or mapping with the configuration that everything starts from."""
    overrides: Overrides = {}
    """Settings that change the base for all arms, by dotted path or as nested mappings."""
    design: Design
    """Which arms are compared."""
    datasets: Annotated[
        dict[Label, Overrides],
        BeforeValidator(_expand_datasets, json_schema_input_type=dict[str, Overrides] | list[str]),
    ] = {}
    """Presets that replace the base in turn, or names -> overrides of the base."""
    seeds: Seeds = DEFAULT_SEEDS
    """Number of seeds, list of seeds, or {min, max} for as many as a decision takes."""
    tune: TuneConfig | None = None
    """Search that tunes every arm before it is evaluated."""
    resources: ResourcesConfig = ResourcesConfig()
    """CPUs and GPUs that one trial gets."""
    table: TableConfig = TableConfig()
    """Content and layout of the table, and how arms are compared."""

    @property
    def adaptive(self) -> AdaptiveSeeds | None:
        """How seeds are added, where their number depends on results."""
        return self.seeds if isinstance(self.seeds, AdaptiveSeeds) else None

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds that an arm may get, in their order."""
        return tuple(range(self.seeds.max)) if isinstance(self.seeds, AdaptiveSeeds) else self.seeds

    @property
    def least_seeds(self) -> int:
        """How many of them every arm gets."""
        return self.seeds.min if isinstance(self.seeds, AdaptiveSeeds) else len(self.seeds)
