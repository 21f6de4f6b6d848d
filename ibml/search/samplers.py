"""Optuna's samplers, made repeatable.

The values of a trial depend on the seed, the trial's number and the trials before it, and not on
the state of a process. An interrupted search therefore proposes the same trials when it is resumed.
"""

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
"""Trial attribute in which Optuna stores the values of enqueued trials.

ibml stores jointly sampled values there too. Values that are missing are sampled one by one.
"""


def suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    """Return the value of a dimension for a trial.

    Args:
        trial: Trial of the Optuna study.
        dimension: A dimension that is not constant.

    Returns:
        The sampled value; repeated calls return the same value.

    Raises:
        TypeError: The dimension is constant.
    """
    path, p = dimension.path, dimension.parameter
    if isinstance(p, ChoiceParameter):
        return dimension.decode(trial.suggest_categorical(path, list(dimension.labels)))
    if not isinstance(p, RangeParameter):
        raise TypeError(f"{path} is constant and cannot be sampled")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns that it lowers `high` to the last step
        if dimension.whole:
            step = int(p.step or 1)
            return trial.suggest_int(path, int(p.low), int(p.high), log=p.log, step=step)
        width = None if p.step is None else float(p.step)
        return trial.suggest_float(path, float(p.low), float(p.high), log=p.log, step=width)


class RepeatableSampler(BaseSampler):
    """Sampler that depends only on its seed, the trial's number and the earlier trials.

    It builds Optuna's sampler for every trial, and for every parameter that is sampled on its own,
    with a seed derived from the trial's number and the parameter. Optuna's samplers store what they
    need to remember in the study.

    Args:
        config: Configuration of the sampler.
    """

    def __init__(self, config: SamplerConfig):
        self.config = config

    def _build_inner(self, trial: FrozenTrial, stream: str) -> BaseSampler:
        seed = stream_seed(self.config.seed, "search", stream, trial.number) % 2**32
        return _build_sampler(self.config, seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the distributions to sample jointly, see `BaseSampler`."""
        if FIXED in trial.system_attrs:
            return {}
        return self._build_inner(trial, "joint").infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample parameters jointly.

        Args:
            study: The study.
            trial: The trial to sample for.
            search_space: Distributions by parameter.

        Returns:
            Values by parameter, in Optuna's representation.
        """
        # NSGA samplers number their generations here, so they are called for fixed trials too
        if FIXED in trial.system_attrs and not self.config.type.startswith("nsga"):
            return {}
        inner = self._build_inner(trial, "joint")
        inner.infer_relative_search_space(study, trial)  # some samplers store its result
        return inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample one parameter.

        Args:
            study: The study.
            trial: The trial to sample for.
            param_name: Path of the parameter.
            param_distribution: Its distribution.

        Returns:
            The value, in Optuna's representation.
        """
        inner = self._build_inner(trial, f"single {param_name}")
        return inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Prepare a trial, see `BaseSampler`."""
        self._build_inner(trial, "before").before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Record the end of a trial.

        Args:
            study: The study.
            trial: The trial that ended.
            state: Its final state.
            values: Values of the objectives, if any.
        """
        # At the end of its grid Optuna's sampler would stop a loop that ibml does not use
        if self.config.type != "grid":
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
