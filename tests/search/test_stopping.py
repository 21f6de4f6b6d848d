"""Early stopping, against results worked out by hand and Optuna's own rules."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from scipy.stats import wilcoxon

from ibml.config.search.space import ASHAConfig, HyperbandConfig, MedianConfig, NoSchedulerConfig, WilcoxonConfig
from ibml.search.stopping import bracket, checkpoints, goes_on


def test_rungs_are_powers_of_the_reduction_factor_and_whole_seeds() -> None:
    asha = ASHAConfig(grace_epochs=5, reduction_factor=3)
    assert checkpoints(asha, 0, 40, 1) == [5, 15]
    assert checkpoints(asha, 0, 45, 1) == [5, 15]  # the end is no rung
    assert checkpoints(asha, 0, 40, 5) == [5, 15, 40, 120]
    assert checkpoints(ASHAConfig(grace_epochs=50), 0, 40, 1) == []
    assert checkpoints(NoSchedulerConfig(), 0, 40, 3) == []
    assert checkpoints(MedianConfig(grace_epochs=38), 0, 40, 2) == [38, 39, 40]
    assert checkpoints(WilcoxonConfig(), 0, 40, 4) == [40, 80, 120]


def test_asha_keeps_the_best_share_of_those_that_came() -> None:
    asha = ASHAConfig(reduction_factor=3)
    others = [{5: value} for value in (0.1, 0.2, 0.3, 0.4, 0.5)]
    kept = [value for value in (0.05, 0.35, 0.42, 0.6) if goes_on(asha, 5, {5: value}, others)]
    assert kept == [0.42, 0.6]  # the best two of six
    assert goes_on(asha, 5, {5: 0.0}, [{1: 0.9}])  # nobody else has come that far
    assert not goes_on(asha, 5, {5: 0.0}, [{5: 0.1}])
    assert not goes_on(asha, 5, {5: 0.1}, [{5: 0.1}])  # no better than one that came before


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
            ours = step in checkpoints(config, number, 20, 1) and not goes_on(config, step, curve, curves)
            assert ours == theirs
            stopped = [ours, theirs]
            if ours:
                break
        study.tell(
            trial, state=optuna.trial.TrialState.PRUNED if stopped[0] else None, values=None if stopped[0] else 1
        )
        curves.append(curve)


def test_hyperband_spreads_proposals_over_brackets_in_proportion() -> None:
    config = HyperbandConfig(grace_epochs=1, reduction_factor=3)
    counts = np.bincount([bracket(config, number, 81) for number in range(236)], minlength=4)
    # Li et al. 2018, table 1, with R = 81 and factor 3 has 81, 34, 15, 8, 5 proposals; the last is no halving and not
    # a bracket here, where a bracket starts below the full length: 4 brackets in proportion 27 : 12 : 6 : 4.
    weights = np.array([4 * 27 / 4, 4 * 9 / 3, 4 * 3 / 2, 4 / 1])
    assert np.abs(counts - 236 * weights / weights.sum()).max() <= 1
    assert checkpoints(config, 0, 81, 1) == [1, 3, 9, 27]
    late = next(number for number in range(50) if bracket(config, number, 81) == 3)
    assert checkpoints(config, late, 81, 1) == [27]


def test_the_median_rule_waits_for_enough_others_and_takes_the_best_so_far() -> None:
    config = MedianConfig(grace_epochs=2, startup_trials=3)
    others = [{1: 0.1, 2: 0.4}, {1: 0.6, 2: 0.5}, {1: 0.3, 2: 0.2}]
    assert not goes_on(config, 2, {1: 0.1, 2: 0.3}, others)  # 0.3 below the median of 0.4, 0.6, 0.3
    assert goes_on(config, 2, {1: 0.5, 2: 0.1}, others)
    assert goes_on(config, 2, {2: 0.0}, others[:2])


def test_the_signed_rank_rule_compares_seeds_with_the_best_proposals() -> None:
    config = WilcoxonConfig(p=0.1)
    best = [0.9, 0.92, 0.88, 0.91]
    worse = [0.8, 0.85, 0.79, 0.8]
    assert wilcoxon(np.subtract(worse, best), alternative="less").pvalue == pytest.approx(0.0625)
    assert not goes_on(config, 160, {160: 0.8}, [], worse, best)
    assert goes_on(config, 120, {120: 0.8}, [], worse[:3], best)  # three pairs cannot come below 0.125
    assert goes_on(config, 160, {160: 0.9}, [], best, best)
    assert goes_on(config, 40, {40: 0.1}, [], [0.1], [])
