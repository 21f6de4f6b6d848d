"""Numbers of seeds against the noncentral t distribution, and intervals against tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from ibml.statistics.power import compute_required_seeds, sd_interval


def exact_power(effect: float, n: int, alpha: float) -> float:
    critical = stats.t.isf(alpha / 2, n - 1)
    shift = effect * math.sqrt(n)
    # scipy 1.17 gives nan for a lower tail of 1e-29.
    return (
        1
        - stats.nct.cdf(critical, n - 1, shift)
        + np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))
    )


@pytest.mark.parametrize("effect", [0.21, 0.5, 0.77, 1.0, 1.9, 3.3, 8.0, 40.0, 1e4])
@pytest.mark.parametrize(
    ("alpha", "power"), [(0.05, 0.8), (0.05, 0.9), (0.01, 0.8), (0.05 / 6, 0.5)]
)
def test_seeds_are_the_smallest_number_with_the_power(
    effect: float, alpha: float, power: float
) -> None:
    expected = next(n for n in range(2, 1000) if exact_power(effect, n, alpha) >= power)
    assert compute_required_seeds(2.0, -2 * effect, alpha, power) == expected


def test_two_pairs_are_not_enough_for_eight_standard_deviations() -> None:
    # With one degree of freedom the spread is |W|, W standard normal:
    # P((Z + 8 sqrt(2)) / |W| > 12.706).
    critical, shift = 12.7062, 8 * math.sqrt(2)
    power = integrate.quad(
        lambda w: 2 * stats.norm.pdf(w) * stats.norm.sf(critical * w - shift), 0, 12, limit=200
    )[0]
    assert power == pytest.approx(0.6253, abs=1e-4)
    assert compute_required_seeds(1.0, 8.0, power=power - 1e-3) == 2
    assert compute_required_seeds(1.0, 8.0, power=power + 1e-3) == 3


def test_seeds_by_the_book() -> None:
    # Cohen 1988: d = 0.5 takes 34 pairs at 5 % two-sided with power 0.8; d = 0.2 takes 199.
    assert compute_required_seeds(1.0, 0.5) == 34
    assert compute_required_seeds(1.0, 0.2) == 199


def test_what_cannot_be_detected_and_what_needs_no_power() -> None:
    assert compute_required_seeds(1.0, 0.0) is None
    assert compute_required_seeds(1.0, 0.2, max_pairs=198) is None
    assert compute_required_seeds(1.0, 0.2, max_pairs=199) == 199
    assert compute_required_seeds(1.0, 1e-4) is None
    assert compute_required_seeds(0.0, 0.1) == 2


def test_interval_of_a_spread() -> None:
    # chi-square quantiles of 9 degrees of freedom from tables: 2.700 and 19.023.
    assert sd_interval(2.0, 10) == pytest.approx(
        (2 * math.sqrt(9 / 19.023), 2 * math.sqrt(9 / 2.700)), rel=2e-4
    )
    assert sd_interval(0.0, 5) == (0.0, 0.0)
    with pytest.raises(ValueError, match="two values"):
        sd_interval(1.0, 1)
