"""Early stopping, against results worked out by hand and Optuna's own rules."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from scipy.stats import wilcoxon

from ibml.config.search.space import (
    ASHAConfig,
    HyperbandConfig,
    MedianConfig,
    NoSchedulerConfig,
    WilcoxonConfig,
)
from ibml.search.pruning import assign_bracket, compute_rungs, should_continue


def test_rungs_are_powers_of_the_reduction_factor_and_whole_seeds() -> None:
    asha = ASHAConfig(grace_epochs=5, reduction_factor=3)
    assert compute_rungs(asha, 0, 40, 1) == [5, 15]
    assert compute_rungs(asha, 0, 45, 1) == [5, 15]  # the end is no rung
    assert compute_rungs(asha, 0, 40, 5) == [5, 15, 40, 120]
    assert compute_rungs(ASHAConfig(grace_epochs=50), 0, 40, 1) == []
    assert compute_rungs(NoSchedulerConfig(), 0, 40, 3) == []
    assert compute_rungs(MedianConfig(grace_epochs=38), 0, 40, 2) == [38, 39, 40]
    assert compute_rungs(WilcoxonConfig(), 0, 40, 4) == [40, 80, 120]


def test_asha_keeps_the_best_share_of_those_that_came() -> None:
    asha = ASHAConfig(reduction_factor=3)
    others = [{5: value} for value in (0.1, 0.2, 0.3, 0.4, 0.5)]
    kept = [
        value for value in (0.05, 0.35, 0.42, 0.6) if should_continue(asha, 5, {5: value}, others)
    ]
    assert kept == [0.42, 0.6]  # the best two of six
    assert should_continue(asha, 5, {5: 0.0}, [{1: 0.9}])  # nobody else has come that far
    assert not should_continue(asha, 5, {5: 0.0}, [{5: 0.1}])
    assert not should_continue(asha, 5, {5: 0.1}, [{5: 0.1}])  # no better than one that came before


@pytest.mark.parametrize("seed", range(5))
def test_asha_decides_as_optunas_halving_does(seed: int) -> None:
    config = ASHAConfig(grace_epochs=2, reduction_factor=3)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    generator = np.random.default_rng(seed)
    curves: list[dict[int, float]] = []
    for number in range(25):
        trial = study.ask()
        curve: dict[int, float] = {}
        stopped = False
        for step in range(1, 20):
            curve[step] = float(generator.random())
            trial.report(curve[step], step)
            theirs = trial.should_prune()
            ours = step in compute_rungs(config, number, 20, 1) and not should_continue(
                config, step, curve, curves
            )
            assert ours == theirs
            stopped = [ours, theirs]
            if ours:
                break
        study.tell(
            trial,
            state=optuna.trial.TrialState.PRUNED if stopped[0] else None,
            values=None if stopped[0] else 1,
        )
        curves.append(curve)


def test_hyperband_spreads_proposals_over_brackets_in_proportion() -> None:
    config = HyperbandConfig(grace_epochs=1, reduction_factor=3)
    counts = np.bincount([assign_bracket(config, number, 81) for number in range(236)], minlength=4)
    # Li et al. 2018, table 1, with R = 81 and factor 3 has 81, 34, 15, 8, 5 proposals. The last
    # does not halve, and is no bracket here, because a bracket starts below the full length:
    # 4 brackets in proportion 27 : 12 : 6 : 4.
    weights = np.array([4 * 27 / 4, 4 * 9 / 3, 4 * 3 / 2, 4 / 1])
    assert np.abs(counts - 236 * weights / weights.sum()).max() <= 1
    assert compute_rungs(config, 0, 81, 1) == [1, 3, 9, 27]
    late = next(number for number in range(50) if assign_bracket(config, number, 81) == 3)
    assert compute_rungs(config, late, 81, 1) == [27]


def test_the_median_rule_waits_for_enough_others_and_takes_the_best_so_far() -> None:
    config = MedianConfig(grace_epochs=2, startup_trials=3)
    others = [{1: 0.1, 2: 0.4}, {1: 0.6, 2: 0.5}, {1: 0.3, 2: 0.2}]
    assert not should_continue(
        config, 2, {1: 0.1, 2: 0.3}, others
    )  # 0.3 below the median of 0.4, 0.6, 0.3
    assert should_continue(config, 2, {1: 0.5, 2: 0.1}, others)
    assert should_continue(config, 2, {2: 0.0}, others[:2])


def test_the_signed_rank_rule_compares_seeds_with_the_best_proposals() -> None:
    config = WilcoxonConfig(p=0.1)
    best = [0.9, 0.92, 0.88, 0.91]
    worse = [0.8, 0.85, 0.79, 0.8]
    assert wilcoxon(np.subtract(worse, best), alternative="less").pvalue == pytest.approx(0.0625)
    assert not should_continue(config, 160, {160: 0.8}, [], worse, best)
    assert should_continue(
        config, 120, {120: 0.8}, [], worse[:3], best
    )  # three pairs cannot come below 0.125
    assert should_continue(config, 160, {160: 0.9}, [], best, best)
    assert should_continue(config, 40, {40: 0.1}, [], [0.1], [])
