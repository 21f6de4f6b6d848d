"""Power of the paired t-test: seeds needed for a difference, interval of a standard deviation."""

from __future__ import annotations

import math
from bisect import bisect_left

from scipy import stats

from ibml.statistics.paired import POWER


def compute_required_seeds(
    sd: float, detect: float, alpha: float = 0.05, power: float = POWER, max_pairs: int = 100_000
) -> int | None:
    """Return the smallest number of pairs for which a paired t-test has the required power.

    Args:
        sd: Standard deviation of the paired differences.
        detect: Mean difference to detect, in the unit of `sd`.
        alpha: Two-sided significance level.
        power: Required probability of detecting the difference.
        max_pairs: Largest number of pairs to consider.

    Returns:
        The number of pairs, at least 2. None if more than `max_pairs` would be needed, or if
        `detect` is 0.
    """
    if detect == 0:
        return None
    if sd == 0:
        return 2
    # The power grows with n, so bisection finds the smallest n. statsmodels solves for a real n
    # instead, which fails if fewer than two pairs would be enough.
    counts = range(2, max_pairs + 1)
    index = bisect_left(counts, power, key=lambda n: _compute_power(abs(detect) / sd, n, alpha))
    return counts[index] if index < len(counts) else None


def _compute_power(effect: float, n: int, alpha: float) -> float:
    """Return the exact power of a two-sided paired t-test, from the noncentral t distribution.

    Args:
        effect: Mean difference divided by the standard deviation of the differences, > 0.
        n: Number of pairs.
        alpha: Two-sided significance level.

    Returns:
        The power, between 0 and 1.
    """
    from statsmodels.stats.power import TTestPower

    # The lower tail is below Phi(-effect sqrt(n)). From effect sqrt(n) = 8 on, this tail is
    # negligible and scipy returns NaN for it, so only the upper tail is evaluated.
    if effect * math.sqrt(n) > 8:
        return float(TTestPower().power(effect, n, alpha / 2, alternative="larger"))
    return float(TTestPower().power(effect, n, alpha))


def sd_interval(sd: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the standard deviation of a normal distribution.

    The limits are sd sqrt((n - 1) / q), where q is the upper or lower quantile of the chi-squared
    distribution with n - 1 degrees of freedom.

    Args:
        sd: Sample standard deviation, with n - 1 in the denominator.
        n: Number of values, at least 2.
        level: Confidence level.

    Returns:
        Lower and upper limit, in the unit of `sd`.

    Raises:
        ValueError: If n is less than 2.
    """
    if n < 2:
        raise ValueError(f"a standard deviation needs at least two values, not {n}")
    upper, lower = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], n - 1)
    return sd * math.sqrt((n - 1) / upper), sd * math.sqrt((n - 1) / lower)
