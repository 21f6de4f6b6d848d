"""Configurations of samplers, which propose trials; `ibml.search.samplers` implements them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ibml.config.base import Config, Count


class TPEConfig(Config):
    """Tree-structured Parzen estimator (Bergstra et al., 2011)."""

    type: Literal["tpe"] = "tpe"
    """Name of this sampler."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler's random numbers."""
    startup_trials: Count = 10
    """Trials with random values before the model proposes any."""
    multivariate: bool = True
    """Model parameters jointly instead of one by one."""
    group: bool = True
    """Model parameters that occur together as one group; needs `multivariate`."""
    constant_liar: bool = True
    """Treat running trials as poor ones, so that parallel proposals differ."""

    @model_validator(mode="after")
    def _check_group(self) -> Self:
        if self.group and not self.multivariate:
            raise ValueError("group needs multivariate")
        return self


class GPConfig(Config):
    """Gaussian process with expected improvement in log space."""

    type: Literal["gp"] = "gp"
    """Name of this sampler."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler's random numbers."""
    startup_trials: Count = 10
    """Trials with random values before the model proposes any."""


class CMAESConfig(Config):
    """Covariance matrix adaptation evolution strategy (Hansen & Ostermeier, 2001).

    It covers the numeric parameters that every trial has; the others are drawn at random.
    """

    type: Literal["cmaes"] = "cmaes"
    """Name of this sampler."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler's random numbers."""
    startup_trials: Count = 1
    """Trials with random values before the model proposes any."""
    population: Annotated[int, Field(ge=3)] | None = None
    """Trials per generation; null: a number that grows with the number of parameters."""


class QMCConfig(Config):
    """Quasi-random sequence over the parameters that every trial has; the others are random."""

    type: Literal["qmc"] = "qmc"
    """Name of this sampler."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler's random numbers."""
    sequence: Literal["sobol", "halton"] = "sobol"
    """Low-discrepancy sequence."""
    scramble: bool = True
    """Randomise the sequence with the seed."""


class RandomConfig(Config):
    """Independent random values."""

    type: Literal["random"] = "random"
    """Name of this sampler."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler's random numbers."""


class GridConfig(Config):
    """Every combination once, in random order; ranges need a `step`."""

    type: Literal["grid"] = "grid"
    """Name of this sampler."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the order of combinations."""


class NSGA2Config(Config):
    """Non-dominated sorting genetic algorithm (Deb et al., 2002), for several objectives."""

    type: Literal["nsga2"] = "nsga2"
    """Name of this sampler."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler's random numbers."""
    population: Annotated[int, Field(ge=2)] = 20
    """Trials per generation."""


class NSGA3Config(Config):
    """NSGA-III (Deb & Jain, 2014), for many objectives."""

    type: Literal["nsga3"] = "nsga3"
    """Name of this sampler."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler's random numbers."""
    population: Annotated[int, Field(ge=2)] = 20
    """Trials per generation."""


SamplerConfig = Annotated[
    TPEConfig
    | GPConfig
    | CMAESConfig
    | QMCConfig
    | RandomConfig
    | GridConfig
    | NSGA2Config
    | NSGA3Config,
    Field(discriminator="type"),
]
