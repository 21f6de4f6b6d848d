"""Configurations of schedulers: which trials stop early, and which change while they train."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ibml.config.base import Config, Count


class NoSchedulerConfig(Config):
    """Every trial trains to its end."""

    type: Literal["none"] = "none"


class ASHAConfig(Config):
    """Asynchronous successive halving (Li et al. 2020): at `grace_epochs`, and at every `reduction_factor` times as
    many, a trial goes on if it is among the best 1 / `reduction_factor` that came so far."""

    type: Literal["asha"] = "asha"
    grace_epochs: Count = 5
    reduction_factor: Annotated[int, Field(ge=2)] = 3


class HyperbandConfig(Config):
    """Successive halving in brackets (Li et al. 2018): bracket s, counted from 0, starts halving at
    `grace_epochs` times `reduction_factor` to the s, so that a bad choice of the grace epochs costs little."""

    type: Literal["hyperband"] = "hyperband"
    grace_epochs: Count = 5
    reduction_factor: Annotated[int, Field(ge=2)] = 3


class MedianConfig(Config):
    """Stops a trial whose best value so far is worse than the median of the others at the same epoch."""

    type: Literal["median"] = "median"
    grace_epochs: Count = 5
    startup_trials: Count = 5


class WilcoxonConfig(Config):
    """Stops a proposal whose seeds are worse than the best proposal's same seeds: one-sided signed-rank test with
    p below `p`. The last comparison is of all
    seeds but one, and n pairs never give less than 0.5 to the n; so at 0.1 it takes `seeds_per_trial` of 5."""

    type: Literal["wilcoxon"] = "wilcoxon"
    p: Annotated[float, Field(gt=0, lt=0.5)] = 0.1


class PBTConfig(Config):
    """Population-based training (Jaderberg et al. 2017). The trials are members of one population and train side by
    side. After every `interval_epochs` each member of the worst `quantile` takes over the state of one of the best
    `quantile`, and its values: numbers times 0.8 or 1.2 and choices moved to a neighbour in their list, or each drawn
    anew with probability `resample`. The first values are the sampler's, before it has any result to learn from."""

    type: Literal["pbt"] = "pbt"
    interval_epochs: Count = 5
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    resample: Annotated[float, Field(ge=0, le=1)] = 0.25
