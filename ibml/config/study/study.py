"""`StudyConfig`: the configuration of an ablation."""

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
    """Expand a list of presets to a mapping from their names to overrides of the base."""
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
    """An ablation: a design over a base configuration, crossed with data sets and seeds."""

    name: StudyName
    """Name of the study in MLflow and on the command line."""
    description: str = ""
    """Description for readers of the report."""
    base: str | Overrides | None = None
    """Base configuration: a preset, a .yaml file or a mapping."""
    overrides: Overrides = {}
    """Changes to the base for all arms, by dotted path or as nested mappings."""
    design: Design
    """Design, which defines the arms to compare."""
    datasets: Annotated[
        dict[Label, Overrides],
        BeforeValidator(_expand_datasets, json_schema_input_type=dict[str, Overrides] | list[str]),
    ] = {}
    """Data sets: a list of presets that replace the base, or a mapping of names to overrides."""
    seeds: Seeds = DEFAULT_SEEDS
    """Number of seeds, list of seeds, or {min, max} for an adaptive number."""
    tune: TuneConfig | None = None
    """Search that tunes every arm before its evaluation."""
    resources: ResourcesConfig = ResourcesConfig()
    """Backend, and resources per trial."""
    table: TableConfig = TableConfig()
    """Content and layout of the table, and statistical test of the differences."""

    @property
    def adaptive(self) -> AdaptiveSeeds | None:
        """Rule for adding seeds; None if their number is fixed."""
        return self.seeds if isinstance(self.seeds, AdaptiveSeeds) else None

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """All seeds that an arm may receive, in order."""
        if isinstance(self.seeds, AdaptiveSeeds):
            return tuple(range(self.seeds.max))
        return self.seeds

    @property
    def least_seeds(self) -> int:
        """Number of seeds that every arm receives."""
        return self.seeds.min if isinstance(self.seeds, AdaptiveSeeds) else len(self.seeds)
