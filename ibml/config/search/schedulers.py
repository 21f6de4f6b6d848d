"""Configurations of schedulers, which stop trials early or change them during training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ibml.config.base import Config, Count


class NoSchedulerConfig(Config):
    """No early stopping: every trial trains all its epochs."""

    type: Literal["none"] = "none"
    """Name of this scheduler."""


class ASHAConfig(Config):
    """Asynchronous successive halving (Li et al., 2020).

    The rungs are at `grace_epochs` times the powers of `reduction_factor`. At a rung, a trial
    continues if it is among the best 1 / `reduction_factor` of the trials that have reached it.
    """

    type: Literal["asha"] = "asha"
    """Name of this scheduler."""
    grace_epochs: Count = 5
    """Epochs that every trial trains before it can be stopped."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """Reciprocal of the share of trials that continue at a rung, and ratio of successive rungs."""


class HyperbandConfig(Config):
    """Successive halving in brackets (Li et al., 2018).

    The first rung of bracket s = 0, 1, ... is at `grace_epochs` times `reduction_factor` to the
    power s. A poor choice of `grace_epochs` therefore costs little.
    """

    type: Literal["hyperband"] = "hyperband"
    """Name of this scheduler."""
    grace_epochs: Count = 5
    """Epochs before the first rung of the first bracket."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """Reciprocal of the share of trials that continue at a rung, and ratio of successive rungs."""


class MedianConfig(Config):
    """Median stopping: stop a trial whose best value is worse than the median at the same epoch."""

    type: Literal["median"] = "median"
    """Name of this scheduler."""
    grace_epochs: Count = 5
    """Epochs that every trial trains before it can be stopped."""
    startup_trials: Count = 5
    """Finished trials before any trial is stopped."""


class WilcoxonConfig(Config):
    """Stop a configuration whose seeds are significantly worse than those of the best one.

    The test is a one-sided signed-rank test, paired by seed. The last comparison has one pair less
    than `seeds_per_trial`, and n pairs give p-values of at least 0.5 to the power n. A `p` of 0.1
    therefore needs 5 seeds per trial.
    """

    type: Literal["wilcoxon"] = "wilcoxon"
    """Name of this scheduler."""
    p: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """A configuration is stopped when the p-value of the test is below this."""


class PBTConfig(Config):
    """Population-based training (Jaderberg et al., 2017).

    The trials are the members of one population and train in parallel. After every
    `interval_epochs`, each member of the worst `quantile` copies the state and the values of a
    member of the best `quantile`. The values are then perturbed: numbers are multiplied by 0.8 or
    1.2, and choices move to a neighbour in their list. With probability `resample` a value is
    drawn at random instead. The sampler proposes the initial values, without results.
    """

    type: Literal["pbt"] = "pbt"
    """Name of this scheduler."""
    interval_epochs: Count = 5
    """Epochs between two exchanges of the population."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """Share of members that are replaced, and of members that are copied."""
    resample: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Probability that a parameter of a replaced member is resampled instead of perturbed."""
