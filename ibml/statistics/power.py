"""How many seeds a difference takes, and how well a few seeds know a standard deviation."""

from __future__ import annotations

import math
from bisect import bisect_left

from scipy import stats

from ibml.statistics.paired import POWER


def seeds_needed(
    sd: float, detect: float, alpha: float = 0.05, power: float = POWER, most: int = 100_000
) -> int | None:
    """Smallest number of pairs with which a two-sided paired t-test detects a mean difference with this power.

    sd and detect in the same unit, sd that of the differences. None if `most` pairs are not enough. At least 2 pairs
    make a test.
    """
    if detect == 0:
        return None
    if sd == 0:
        return 2
    # The power grows with n. statsmodels' own search for n is one for a root among real numbers, which fails where two
    # pairs are more than enough.
    counts = range(2, most + 1)
    place = bisect_left(counts, power, key=lambda n: _power(abs(detect) / sd, n, alpha))
    return counts[place] if place < len(counts) else None


def _power(effect: float, n: int, alpha: float) -> float:
    """Exact power of a two-sided paired t-test, by the noncentral t; effect > 0 in standard deviations."""
    from statsmodels.stats.power import TTestPower

    # The lower tail is below Phi(-effect sqrt(n)), nothing from 8 on, and there scipy says it is not a number.
    if effect * math.sqrt(n) > 8:
        return float(TTestPower().power(effect, n, alpha / 2, alternative="larger"))
    return float(TTestPower().power(effect, n, alpha))


def sd_interval(sd: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a normal's standard deviation from that of n >= 2 values: sd sqrt((n - 1) / chi2 quantile)."""
    if n < 2:
        raise ValueError(f"a standard deviation takes two values, not {n}")
    upper, lower = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], n - 1)
    return sd * math.sqrt((n - 1) / upper), sd * math.sqrt((n - 1) / lower)
