"""Pruning: the decision whether a trial continues, from the reported values of all trials.

A step is a number of epochs that a trial has trained over all its seeds: every epoch of the first
seed is a step, and then the end of each further seed. Values are means over seeds of the metric at
the epoch that would be selected.

All rules are functions of these values. Optuna's own successive halving stores its marks apart from
the decision, so that a process which is killed between the two would decide differently afterwards.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from ibml.config.search.schedulers import HyperbandConfig
from ibml.config.search.space import SchedulerConfig

Curve = Mapping[int, float]
"""Values of one trial by step; higher is better."""


def compute_rungs(config: SchedulerConfig, number: int, epochs: int, seeds: int) -> list[int]:
    """Return the steps at which a trial may be pruned.

    Args:
        config: Configuration of the scheduler.
        number: Number of the trial.
        epochs: Number of epochs of a seed.
        seeds: Number of seeds.

    Returns:
        Steps, without the last one, after which nothing is left to train.
    """
    ends = [epochs * seed for seed in range(1, seeds)]
    match config.type:
        case "none" | "pbt":
            return []
        case "wilcoxon":
            return ends
        case "median":
            return [*range(config.grace_epochs, epochs), *ends]
        case "asha" | "hyperband":
            factor = config.reduction_factor
            step = config.grace_epochs
            if config.type == "hyperband":
                step *= factor ** assign_bracket(config, number, epochs)
            rungs: list[int] = []
            while step < epochs:
                rungs.append(step)
                step *= factor
            count = 1
            while count < seeds:
                rungs.append(epochs * count)
                count *= factor
            return rungs


def should_continue(
    config: SchedulerConfig,
    step: int,
    curve: Curve,
    others: Sequence[Curve],
    seed_values: Sequence[float] = (),
    best_seed_values: Sequence[float] = (),
) -> bool:
    """Return True if a trial continues after a rung.

    Successive halving ranks the earlier trial higher if values are equal, because metrics of small
    samples have many equal values.

    Args:
        config: Configuration of the scheduler.
        step: The rung.
        curve: Values of the trial.
        others: Values of the trials to compare with.
        seed_values: Values of the trial, one per finished seed.
        best_seed_values: Values of the best trial, one per seed.

    Returns:
        False if the trial is to be pruned.
    """
    value = curve[step]
    match config.type:
        case "asha" | "hyperband":
            rivals = [other[step] for other in others if step in other]
            not_worse = sum(rival >= value for rival in rivals)
            return not_worse < max((len(rivals) + 1) // config.reduction_factor, 1)
        case "median":
            rivals = [_get_best_until(step, other) for other in others if step in other]
            if len(rivals) < config.startup_trials:
                return True
            return _get_best_until(step, curve) >= statistics.median(rivals)
        case "wilcoxon":
            from scipy.stats import wilcoxon

            pairs = zip(seed_values, best_seed_values, strict=False)
            differences = [own - best for own, best in pairs]
            if not any(differences):
                return True
            test = wilcoxon(differences, alternative="less", zero_method="zsplit")
            return not float(test.pvalue) < config.p
        case "none" | "pbt":
            return True


def _get_best_until(step: int, curve: Curve) -> float:
    return max(value for s, value in curve.items() if s <= step)


def assign_bracket(config: HyperbandConfig, number: int, epochs: int) -> int:
    """Return the Hyperband bracket of a trial.

    Of n brackets, the one that starts halving at `grace_epochs` * factor^s gets trials in
    proportion to n factor^(n-1-s) / (n - s), spread evenly over the numbers of the trials
    (Li et al., 2018, algorithm 1).

    Args:
        config: Configuration of the scheduler.
        number: Number of the trial.
        epochs: Number of epochs of a seed.

    Returns:
        Index s of the bracket, from 0.
    """
    factor = config.reduction_factor
    brackets = 1
    while config.grace_epochs * factor**brackets < epochs:
        brackets += 1
    weights = [brackets * factor ** (brackets - 1 - s) / (brackets - s) for s in range(brackets)]
    total = sum(weights)
    given = [0] * brackets
    for position in range(number + 1):
        # the share that each bracket should have by now, minus what it has
        deficits = [
            weight * (position + 1) / total - count
            for weight, count in zip(weights, given, strict=True)
        ]
        chosen = deficits.index(max(deficits))
        given[chosen] += 1
    return chosen
