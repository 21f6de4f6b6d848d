"""Search-space files, typed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ibml.config.base import Config, Count, Items
from ibml.config.study import StudyName

When = dict[str, Items[Any] | Any]
"""The parameter is searched only where others have these values: {fusion.type: [film, gated]}."""


class RangeParameter(Config):
    """A number between two bounds, both included; `log` searches its logarithm."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None
    when: When = {}


class ChoiceParameter(Config):
    """One of a list of values."""

    choices: Annotated[Items[Any], Field(min_length=1)]
    when: When = {}


class ConstantParameter(Config):
    """A value that is set and not searched."""

    value: Any
    when: When = {}


class Objective(Config):
    """A metric to optimise."""

    metric: str
    direction: Literal["maximize", "minimize"] = "maximize"


class SamplerConfig(Config):
    """How configurations are proposed."""

    type: Literal["tpe", "gp", "cmaes", "qmc", "random", "grid", "nsga2", "nsga3"] = "tpe"
    seed: int = 0


class SchedulerConfig(Config):
    """How trials are stopped early."""

    type: Literal["none", "asha", "hyperband", "median"] = "none"
    grace_epochs: Count = 5
    reduction_factor: Annotated[int, Field(ge=2)] = 3


class SearchSpaceConfig(Config):
    """What a search varies, towards which objectives, and with how many trials."""

    name: StudyName
    parameters: Annotated[
        dict[str, RangeParameter | ChoiceParameter | ConstantParameter],
        Field(min_length=1),
    ]
    objectives: Annotated[Items[Objective], Field(min_length=1)] = (Objective(metric="val.accuracy"),)
    sampler: SamplerConfig = SamplerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    trials: Count = 50
