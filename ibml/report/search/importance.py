"""Importance of the searched parameters, with intervals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from ibml.records import SearchRecord
from ibml.report.search.summary import build_distribution, create_memory_study

BOOTSTRAPS = 20
MIN_TRIALS = 8
"""Importance is not computed from fewer trials."""


@dataclass(frozen=True)
class Importance:
    """Share of the variance of the first objective that a parameter explains.

    Computed by fANOVA (Hutter et al., 2014) with the 95 % percentile interval over resampled
    trials.

    Attributes:
        name: Dotted path of the parameter.
        mean: Mean share over the resamples.
        low: Lower end of the interval.
        high: Upper end of the interval.
        trials: Number of trials in which the parameter was active.
    """

    name: str
    mean: float
    low: float
    high: float
    trials: int


@dataclass(frozen=True)
class Importances:
    """Importance of all parameters.

    Attributes:
        parameters: Importances in descending order.
        epochs: Epochs after which the trials are compared; None for the end of training.
    """

    parameters: tuple[Importance, ...] = ()
    epochs: int | None = None


def compute_importances(record: SearchRecord) -> Importances:
    """Compute the importance of the searched parameters.

    Args:
        record: Record of the search.

    Returns:
        Importance at the end of training; if early stopping ended most trials before, at the last
        epoch that half of them reached. Empty with too few trials, with equal values, and for
        population-based training, where a trial has several values of a parameter.
    """
    return _compute_cached_importances(record.model_dump_json())


@lru_cache(maxsize=16)
def _compute_cached_importances(content: str) -> Importances:
    """Compute importances once per record; one command needs them several times."""
    record = SearchRecord.model_validate_json(content)
    if record.scheduler["type"] == "pbt":
        return Importances()
    trials, epochs = _select_compared_trials(record)
    if len(trials) < MIN_TRIALS:
        return Importances()
    everywhere = []
    for path in record.parameters:
        if all(path in trial.params for trial in trials):
            everywhere.append(path)
    found = _bootstrap_importances(record, trials, everywhere)
    for path in record.parameters:
        active = [trial for trial in trials if path in trial.params]
        if path not in everywhere and len(active) >= MIN_TRIALS:
            conditional = _bootstrap_importances(record, active, [*everywhere, path])
            found += [importance for importance in conditional if importance.name == path]
    ordered = sorted(found, key=lambda importance: -importance.mean)
    return Importances(tuple(ordered), epochs if found else None)


def _select_compared_trials(record: SearchRecord) -> tuple[list[FrozenTrial], int | None]:
    """Return the trials to compare with their values, and the epochs of these values."""
    ended = [p for p in record.proposals if p.values and not p.reason]
    half = len([p for p in record.proposals if p.state != "failed"]) / 2
    if len(ended) >= half:
        trials = [_build_trial(record, p.params, (p.values or (0.0,))[0]) for p in ended]
        return trials, None
    steps: set[int] = set()
    for proposal in record.proposals:
        steps |= proposal.curve.keys()
    for step in sorted(steps, reverse=True):
        reached = [p for p in record.proposals if step in p.curve]
        if len(reached) >= half:
            return [_build_trial(record, p.params, p.curve[step]) for p in reached], step
    return [], None


def _build_trial(record: SearchRecord, params: Mapping[str, object], value: float) -> FrozenTrial:
    distributions = {path: build_distribution(record.parameters[path]) for path in params}
    return optuna.trial.create_trial(value=value, params=dict(params), distributions=distributions)


def _bootstrap_importances(
    record: SearchRecord, trials: Sequence[FrozenTrial], names: list[str]
) -> list[Importance]:
    """Return the importances of parameters that vary; empty if fANOVA does not apply."""
    varied = []
    for name in names:
        if len({repr(trial.params[name]) for trial in trials}) > 1:
            varied.append(name)
    values = [trial.values[0] for trial in trials]
    if not varied or max(values) == min(values):
        return []
    generator = np.random.default_rng(0)
    samples: dict[str, list[float]] = {name: [] for name in varied}
    for repeat in range(BOOTSTRAPS):
        drawn = [trials[i] for i in generator.integers(len(trials), size=len(trials))]
        for name, score in _compute_scores(record, drawn, varied, repeat).items():
            samples[name].append(score)
    if not all(samples.values()):
        return []
    importances = []
    for name, scores in samples.items():
        low, high = np.percentile(scores, [2.5, 97.5])
        mean = float(np.mean(scores))
        importances.append(Importance(name, mean, float(low), float(high), len(trials)))
    return importances


def _compute_scores(
    record: SearchRecord, drawn: Sequence[FrozenTrial], names: list[str], seed: int
) -> dict[str, float]:
    """Return the fANOVA scores of some trials; empty if these are too similar to fit a tree."""
    study = create_memory_study([record.objectives[0][1]])
    study.add_trials(drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            evaluator = FanovaImportanceEvaluator(n_trees=16, seed=seed)
            scores = get_param_importances(study, evaluator=evaluator, params=names)
        except RuntimeError:  # no tree has any variance
            return {}
    return {name: scores.get(name, 0.0) for name in names}
