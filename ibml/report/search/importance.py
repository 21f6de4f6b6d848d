"""How much each searched parameter matters, with intervals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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
"""Importance from fewer trials would be noise."""


@dataclass(frozen=True)
class Importance:
    """The share of the variance of the first objective that a parameter explains (fANOVA; Hutter et al. 2014), with
    the 95 % percentile interval over resampled trials. `trials` are those in which the parameter was active."""

    name: str
    mean: float
    low: float
    high: float
    trials: int


@dataclass(frozen=True)
class Importances:
    """The parameters by importance, the greatest first. `epochs`: after how many the trials are compared; none means
    at their end."""

    parameters: tuple[Importance, ...] = ()
    epochs: int | None = None


def compute_importances(record: SearchRecord) -> Importances:
    """Importance at the end of training, or where early stopping has left most trials without an end, at the last
    epoch that half of them reached; nothing where too few trials or equal values allow none, or where a trial had
    several values of a parameter."""
    return _compute_cached_importances(record.model_dump_json())


@lru_cache(maxsize=16)
def _compute_cached_importances(content: str) -> Importances:
    """A command asks for those of one record several times, and they take seconds."""
    record = SearchRecord.model_validate_json(content)
    if record.scheduler["type"] == "pbt":
        return Importances()
    trials, epochs = _select_compared_trials(record)
    if len(trials) < MIN_TRIALS:
        return Importances()
    everywhere = [path for path in record.parameters if all(path in t.params for t in trials)]
    found = _bootstrap_importances(record, trials, everywhere)
    for path in record.parameters:
        having = [t for t in trials if path in t.params]
        if path not in everywhere and len(having) >= MIN_TRIALS:
            found += [
                i
                for i in _bootstrap_importances(record, having, [*everywhere, path])
                if i.name == path
            ]
    return Importances(
        tuple(sorted(found, key=lambda importance: -importance.mean)), epochs if found else None
    )


def _select_compared_trials(record: SearchRecord) -> tuple[list[FrozenTrial], int | None]:
    """The trials to compare, each with its value, and after how many epochs that is."""
    ended = [p for p in record.proposals if p.values and not p.reason]
    half = len([p for p in record.proposals if p.state != "failed"]) / 2
    if len(ended) >= half:
        return [_build_trial(record, p.params, (p.values or (0.0,))[0]) for p in ended], None
    steps = sorted({step for p in record.proposals for step in p.curve}, reverse=True)
    for step in steps:
        reached = [p for p in record.proposals if step in p.curve]
        if len(reached) >= half:
            return [_build_trial(record, p.params, p.curve[step]) for p in reached], step
    return [], None


def _build_trial(record: SearchRecord, params: dict[str, object], value: float) -> FrozenTrial:
    distributions = {path: build_distribution(record.parameters[path]) for path in params}
    return optuna.trial.create_trial(value=value, params=params, distributions=distributions)


def _bootstrap_importances(
    record: SearchRecord, trials: Sequence[FrozenTrial], names: list[str]
) -> list[Importance]:
    varied = [name for name in names if len({repr(t.params[name]) for t in trials}) > 1]
    values = [t.values[0] for t in trials]
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
    ends = {name: np.percentile(s, [2.5, 97.5]) for name, s in samples.items()}
    return [
        Importance(name, float(np.mean(s)), float(ends[name][0]), float(ends[name][1]), len(trials))
        for name, s in samples.items()
    ]


def _compute_scores(
    record: SearchRecord, drawn: Sequence[FrozenTrial], names: list[str], seed: int
) -> dict[str, float]:
    """fANOVA on some trials; nothing where they are too much alike to fit a tree to."""
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
