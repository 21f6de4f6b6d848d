"""Configurations of schedulers: which trials stop early, and which change while they train."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ibml.config.base import Config, Count


class NoSchedulerConfig(Config):
    """Every trial trains to its end."""

    type: Literal["none"] = "none"
    """Selects this scheduler."""


class ASHAConfig(Config):
    """Asynchronous successive halving (Li et al. 2020): at `grace_epochs`, and at every `reduction_factor` times as
    many, a trial goes on if it is among the best 1 / `reduction_factor` that came so far."""

    type: Literal["asha"] = "asha"
    """Selects this scheduler."""
    grace_epochs: Count = 5
    """Epochs that every trial trains before it can be stopped."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One in so many trials continues at each rung, and the epochs between rungs grow by this factor."""


class HyperbandConfig(Config):
    """Successive halving in brackets (Li et al. 2018): bracket s, counted from 0, starts halving at
    `grace_epochs` times `reduction_factor` to the s, so that a bad choice of the grace epochs costs little."""

    type: Literal["hyperband"] = "hyperband"
    """Selects this scheduler."""
    grace_epochs: Count = 5
    """Epochs before the first rung of the first bracket."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One in so many trials continues at each rung, and the epochs between rungs grow by this factor."""


class MedianConfig(Config):
    """Stops a trial whose best value so far is worse than the median of the others at the same epoch."""

    type: Literal["median"] = "median"
    """Selects this scheduler."""
    grace_epochs: Count = 5
    """Epochs that every trial trains before it can be stopped."""
    startup_trials: Count = 5
    """Finished trials before any trial is stopped."""


class WilcoxonConfig(Config):
    """Stops a proposal whose seeds are worse than the best proposal's same seeds: one-sided signed-rank test with
    p below `p`. The last comparison is of all
    seeds but one, and n pairs never give less than 0.5 to the n; so at 0.1 it takes `seeds_per_trial` of 5."""

    type: Literal["wilcoxon"] = "wilcoxon"
    """Selects this scheduler."""
    p: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """A configuration is stopped when the p-value of the test is below this."""


class PBTConfig(Config):
    """Population-based training (Jaderberg et al. 2017). The trials are members of one population and train side by
    side. After every `interval_epochs` each member of the worst `quantile` takes over the state of one of the best
    `quantile`, and its values: numbers times 0.8 or 1.2 and choices moved to a neighbour in their list, or each drawn
    anew with probability `resample`. The first values are the sampler's, before it has any result to learn from."""

    type: Literal["pbt"] = "pbt"
    """Selects this scheduler."""
    interval_epochs: Count = 5
    """Epochs between two exchanges of the population."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """Share of members that is replaced, and share that is copied."""
    resample: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Probability that a parameter of a replaced member is drawn anew instead of perturbed."""
