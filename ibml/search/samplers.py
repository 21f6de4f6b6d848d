"""Optuna's samplers, made repeatable: what a trial is proposed depends on the seed, the trial's number and the trials
before it, and on nothing that a process holds. So a search that is killed proposes what it would have proposed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ibml.common.rng import stream_seed
from ibml.config.search.samplers import SamplerConfig
from ibml.config.search.space import ChoiceParameter, RangeParameter
from ibml.search.space import Dimension

FIXED = "fixed_params"
"""Where Optuna keeps the values of trials that were enqueued, and we keep those that were drawn jointly. What such a
trial lacks is drawn one by one."""


def suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    """The value of a dimension that is proposed to a trial, the same one whenever it is asked again."""
    path, p = dimension.path, dimension.parameter
    if isinstance(p, ChoiceParameter):
        return dimension.value(trial.suggest_categorical(path, list(dimension.labels)))
    if not isinstance(p, RangeParameter):
        raise TypeError(f"{path} is constant and is not proposed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna says that it lowers `high` to the last step
        if dimension.whole:
            return trial.suggest_int(
                path, int(p.low), int(p.high), log=p.log, step=int(p.step or 1)
            )
        step = None if p.step is None else float(p.step)
        return trial.suggest_float(path, float(p.low), float(p.high), log=p.log, step=step)


class RepeatableSampler(BaseSampler):
    """Makes the sampler anew for every trial, and for every parameter that is drawn on its own, from a seed of the
    trial's number and the parameter. Optuna's samplers keep what they must remember in the study itself."""

    def __init__(self, config: SamplerConfig):
        self.config = config

    def _build_inner(self, trial: FrozenTrial, stream: str) -> BaseSampler:
        return _build_sampler(
            self.config, stream_seed(self.config.seed, "search", stream, trial.number) % 2**32
        )

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        if FIXED in trial.system_attrs:
            return {}
        return self._build_inner(trial, "joint").infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if FIXED in trial.system_attrs and not self.config.type.startswith(
            "nsga"
        ):  # which number their generations
            return {}
        inner = self._build_inner(trial, "joint")
        inner.infer_relative_search_space(study, trial)  # some keep what they found for the draw
        return inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        inner = self._build_inner(trial, f"single {param_name}")
        return inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._build_inner(trial, "before").before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        if (
            self.config.type != "grid"
        ):  # at the end of its grid it would stop a loop that we do not use
            self._build_inner(trial, "after").after_trial(study, trial, state, values)


def _build_sampler(config: SamplerConfig, seed: int) -> BaseSampler:
    samplers = optuna.samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match config.type:
            case "tpe":
                return samplers.TPESampler(
                    n_startup_trials=config.startup_trials,
                    multivariate=config.multivariate,
                    group=config.group,
                    constant_liar=config.constant_liar,
                    seed=seed,
                )
            case "gp":
                return samplers.GPSampler(
                    n_startup_trials=config.startup_trials,
                    warn_independent_sampling=False,
                    seed=seed,
                )
            case "cmaes":
                return samplers.CmaEsSampler(
                    n_startup_trials=config.startup_trials,
                    popsize=config.population,
                    warn_independent_sampling=False,
                    seed=seed,
                )
            case "qmc":
                return samplers.QMCSampler(
                    qmc_type=config.sequence,
                    scramble=config.scramble,
                    seed=config.seed,  # one sequence for all trials
                    independent_sampler=samplers.RandomSampler(seed=seed),
                    warn_independent_sampling=False,
                )
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "grid":
                return samplers.BruteForceSampler(seed=seed)
            case "nsga2":
                return samplers.NSGAIISampler(population_size=config.population, seed=seed)
            case "nsga3":
                return samplers.NSGAIIISampler(population_size=config.population, seed=seed)
