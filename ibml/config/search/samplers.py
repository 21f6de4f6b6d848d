"""Configurations of samplers: how configurations are proposed. `ibml.search.samplers` makes them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ibml.config.base import Config, Count


class TPEConfig(Config):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), over groups of parameters that occur together
    (`multivariate`, `group`), with trials that still run taken for poor ones (`constant_liar`)."""

    type: Literal["tpe"] = "tpe"
    seed: Annotated[int, Field(ge=0)] = 0
    startup_trials: Count = 10
    multivariate: bool = True
    group: bool = True
    constant_liar: bool = True

    @model_validator(mode="after")
    def _group_needs_multivariate(self) -> Self:
        if self.group and not self.multivariate:
            raise ValueError("group needs multivariate")
        return self


class GPConfig(Config):
    """Gaussian process with expected improvement in log space."""

    type: Literal["gp"] = "gp"
    seed: Annotated[int, Field(ge=0)] = 0
    startup_trials: Count = 10


class CMAESConfig(Config):
    """Covariance matrix adaptation (Hansen & Ostermeier 2001) over the numbers that every trial has; the rest at
    random."""

    type: Literal["cmaes"] = "cmaes"
    seed: Annotated[int, Field(ge=0)] = 0
    startup_trials: Count = 1
    population: Annotated[int, Field(ge=3)] | None = None


class QMCConfig(Config):
    """A quasi-random sequence over the parameters that every trial has; the rest at random."""

    type: Literal["qmc"] = "qmc"
    seed: Annotated[int, Field(ge=0)] = 0
    sequence: Literal["sobol", "halton"] = "sobol"
    scramble: bool = True


class RandomConfig(Config):
    """Independent draws."""

    type: Literal["random"] = "random"
    seed: Annotated[int, Field(ge=0)] = 0


class GridConfig(Config):
    """Every combination once, in random order; ranges need a step."""

    type: Literal["grid"] = "grid"
    seed: Annotated[int, Field(ge=0)] = 0


class NSGA2Config(Config):
    """Non-dominated sorting genetic algorithm (Deb et al. 2002), for several objectives."""

    type: Literal["nsga2"] = "nsga2"
    seed: Annotated[int, Field(ge=0)] = 0
    population: Annotated[int, Field(ge=2)] = 20


class NSGA3Config(Config):
    """NSGA-III (Deb & Jain 2014), for many objectives."""

    type: Literal["nsga3"] = "nsga3"
    seed: Annotated[int, Field(ge=0)] = 0
    population: Annotated[int, Field(ge=2)] = 20


SamplerConfig = Annotated[
    TPEConfig | GPConfig | CMAESConfig | QMCConfig | RandomConfig | GridConfig | NSGA2Config | NSGA3Config,
    Field(discriminator="type"),
]
