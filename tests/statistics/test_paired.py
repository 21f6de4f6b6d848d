"""Statistics against scipy and statsmodels, and against counting by hand."""

from __future__ import annotations

import gc
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from ibml.statistics.paired import (
    holm,
    minimum_detectable_effect,
    paired_difference,
    signed_rank,
    smallest_signed_rank,
    summarise,
    with_verdicts,
)

numbers = st.floats(-100, 100).map(lambda x: round(x, 2))


def by_seed(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12), st.sampled_from([0.01, 0.05])
)
def test_paired_t_equals_scipys(pairs: list[tuple[float, float]], alpha: float) -> None:
    arm, reference = map(list, zip(*pairs, strict=True))
    d = np.array(arm) - np.array(reference)
    found = paired_difference(by_seed(arm), by_seed(reference), "t", alpha)
    assert found.mean == pytest.approx(d.mean(), abs=1e-9)
    if np.ptp(d) < 1e-9:
        assert found.p in (None, 1.0)
        assert found.effect_size is None
        return
    expected = stats.ttest_rel(arm, reference)
    interval = expected.confidence_interval(1 - alpha)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx(
        (interval.low, interval.high), rel=1e-6, abs=1e-9
    )
    assert found.effect_size == pytest.approx(d.mean() / d.std(ddof=1), rel=1e-6, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=11))
def test_signed_rank_is_exact_with_ties_and_zeros(d: list[float]) -> None:
    values = np.array([x for x in d if x != 0])
    if len(values) == 0:
        assert signed_rank(np.array(d)) == 1.0
        return
    ranks = stats.rankdata(np.abs(values))
    observed = min(ranks[values > 0].sum(), ranks[values < 0].sum())
    sums = [
        sum(r for r, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    expected = min(1.0, 2 * np.mean(np.array(sums) <= observed + 1e-9))
    assert signed_rank(np.array(d)) == pytest.approx(expected)


@pytest.mark.parametrize("n", [5, 12, 25])
def test_signed_rank_equals_scipys_where_there_are_no_ties(n: int) -> None:
    d = np.random.default_rng(n).normal(0.5, 1, n)
    assert signed_rank(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)
    assert paired_difference(by_seed(list(d)), by_seed([0.0] * n), "wilcoxon").p == signed_rank(d)


def test_signed_rank_of_many_pairs_is_scipys_approximation() -> None:
    d = np.random.default_rng(0).normal(0.2, 1, 40)
    assert signed_rank(d) == pytest.approx(stats.wilcoxon(d, method="asymptotic").pvalue)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.none() | st.floats(0, 1), max_size=10))
def test_holm_equals_statsmodels_and_skips_what_was_not_tested(
    p_values: list[float | None],
) -> None:
    found = holm(p_values)
    assert [p is None for p in found] == [p is None for p in p_values]
    tested = [p for p in p_values if p is not None]
    if tested:
        gc.freeze()  # multipletests collects garbage at each call
        expected = multipletests(tested, method="holm")[1]
        gc.unfreeze()
        assert [p for p in found if p is not None] == pytest.approx(list(expected))


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


def test_minimum_detectable_difference_is_the_formulas() -> None:
    quantiles = stats.t(9).ppf(0.975) + stats.t(9).ppf(0.8)
    assert minimum_detectable_effect(2.0, 10) == pytest.approx(quantiles * 2 / math.sqrt(10))
    # The formula with t quantiles is close to the exact power of the noncentral t distribution.
    power = TTestPower().power(minimum_detectable_effect(1.0, 20), 20, 0.05)
    assert power == pytest.approx(0.8, abs=0.02)


def test_seeds_with_a_missing_side_are_left_out_and_counted() -> None:
    found = paired_difference({0: 1.0, 1: 2.0, 2: 5.0, 7: 9.0}, {1: 1.0, 2: 1.0, 3: 4.0})
    assert (found.n, found.missing, found.mean) == (2, 3, 2.5)
    assert paired_difference({0: 1.0}, {1: 2.0}).verdict == "no pairs"


def test_one_seed_makes_no_claim() -> None:
    found = paired_difference({3: 5.0}, {3: 1.0})
    assert (found.mean, found.p, found.low, found.verdict) == (
        4.0,
        None,
        None,
        "one seed: no claim",
    )


def test_no_spread_is_not_divided_by() -> None:
    same = paired_difference(by_seed([1.0, 2.0]), by_seed([1.0, 2.0]))
    assert (same.mean, same.p, same.verdict) == (0.0, 1.0, "no effect detected")
    constant = paired_difference(by_seed([0.3, 0.4, 0.5]), by_seed([0.1, 0.2, 0.3]))
    assert (constant.p, constant.effect_size, constant.verdict) == (
        None,
        None,
        "no spread: no claim",
    )


@pytest.mark.parametrize("n", [1, 2, 5, 6, 13, 25, 26, 40])
def test_the_smallest_signed_rank_p_is_that_of_differences_of_one_sign(n: int) -> None:
    assert smallest_signed_rank(n) == pytest.approx(signed_rank(np.linspace(1, 2, n)), rel=1e-12)


@pytest.mark.parametrize("test", ["t", "wilcoxon"])
def test_rounding_is_no_difference(test: str) -> None:
    gaps = [
        (0.95, 0.90, 0.93, 0.88),
        (0.951, 0.901, 0.932, 0.882),
        (0.963, 0.913, 0.921, 0.871),
        (0.8, 0.75, 0.9, 0.85),
    ]
    arm, reference = [100 * (a - b) for a, b, _, _ in gaps], [100 * (c - d) for _, _, c, d in gaps]
    assert arm != reference, "the case needs floats that differ"
    found = paired_difference(by_seed(arm), by_seed(reference), test)
    assert (found.mean, found.p, found.verdict) == (0.0, 1.0, "no effect detected")


def test_verdicts_follow_the_corrected_p_and_the_direction() -> None:
    reference = by_seed([10.0, 11.0, 12.0, 13.0, 14.0])
    differences = {
        "up": paired_difference(by_seed([15.1, 15.9, 17.0, 18.0, 19.0]), reference),
        "down": paired_difference(by_seed([5.1, 5.9, 7.0, 8.0, 9.0]), reference),
        "none": paired_difference(by_seed([10.5, 10.5, 12.5, 12.5, 14.2]), reference),
    }
    higher = {name: d.verdict for name, d in with_verdicts(differences, True).items()}
    assert higher == {"up": "helps", "down": "hurts", "none": "no effect detected"}
    lower = {name: d.verdict for name, d in with_verdicts(differences, False).items()}
    assert lower == {"up": "hurts", "down": "helps", "none": "no effect detected"}


def test_a_difference_is_no_longer_significant_after_correction() -> None:
    alone = paired_difference(by_seed([1.0, 2.0, 1.2, 0.1, 0.5]), by_seed([0.0] * 5))
    assert 0.017 < alone.p < 0.05
    assert with_verdicts({"a": alone}, True)["a"].verdict == "helps"
    family = {
        "a": alone,
        **{str(i): paired_difference(by_seed([1.0, -1.0, 0.5]), by_seed([0.0] * 3)) for i in "12"},
    }
    assert with_verdicts(family, True)["a"].verdict == "no effect detected"


def test_summaries() -> None:
    assert summarise([]).mean is None
    assert (summarise([3.0]).mean, summarise([3.0]).sd) == (3.0, None)
    found = summarise([1.0, 2.0, 4.0])
    assert (found.n, found.mean, found.sd) == (
        3,
        pytest.approx(7 / 3),
        pytest.approx(np.std([1, 2, 4], ddof=1)),
    )
