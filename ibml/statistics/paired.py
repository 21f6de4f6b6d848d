"""Paired comparisons of an arm with a reference: summaries, tests, corrections and verdicts.

All arms use the same seeds (common random numbers), so arms are compared by the paired
differences d_s = x_arm,s - x_ref,s. Quantiles and distributions are those of scipy.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

TestName = Literal["t", "wilcoxon"]
Verdict = Literal[
    "helps",
    "hurts",
    "effect detected",
    "no effect detected",
    "undecided so far",
    "one seed: no claim",
    "no spread: no claim",
    "too few data sets",
    "no pairs",
]
NameT = TypeVar("NameT")
Key = TypeVar("Key", int, str)
"""Key by which values are paired: a seed or the name of a data set."""

POWER = 0.8
"""Power for which minimum detectable effects and numbers of seeds are computed."""

_EXACT_PAIRS = 25
"""Largest number of pairs for which the signed-rank test is exact."""
_ROUNDING = 1e-12
"""Relative size below which the difference of two numbers is treated as a rounding error."""


@dataclass(frozen=True)
class Summary:
    """Summary of the values in one table cell.

    Attributes:
        n: Number of seeds.
        mean: Mean over seeds; None without seeds.
        sd: Standard deviation with n - 1 in the denominator; None for fewer than two seeds.
    """

    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Difference:
    """Paired difference between an arm and the reference, over the pairs with both values.

    A statistic has the value None if n, the spread of the differences or the test does not define
    it.

    Attributes:
        n: Number of pairs.
        missing: Number of seeds, or data sets, for which one of the two values is missing.
        mean: Mean of the differences d.
        low: Lower limit of the 1 - alpha t interval of the mean.
        high: Upper limit of this interval.
        p: Two-sided p-value.
        p_corrected: Holm-corrected p-value.
        effect_size: Effect size d_z = mean(d) / sd(d).
        detectable: Minimum detectable effect (MDE): the smallest difference that a t-test of n
            pairs detects with power 0.8, before correction.
        verdict: Conclusion for tables and figures.
    """

    n: int
    missing: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    effect_size: float | None = None
    detectable: float | None = None
    verdict: Verdict = "no pairs"


def summarise(values: Sequence[float]) -> Summary:
    """Return the number, mean and standard deviation of the values.

    Args:
        values: One value per seed; may be empty.

    Returns:
        The summary of the values.
    """
    if not values:
        return Summary(0, None, None)
    array = np.asarray(values, dtype=float)
    sd = float(array.std(ddof=1)) if len(array) > 1 else None
    return Summary(len(array), float(array.mean()), sd)


def find_complete_keys(groups: Iterable[Mapping[Key, float]]) -> tuple[list[Key], int]:
    """Return the keys that all groups have, sorted, and the number of other keys.

    Args:
        groups: Values by seed, or by data set, of each cell or arm.

    Returns:
        The common keys, and the number of keys that some group lacks.
    """
    key_sets: list[set[Key]] = list(map(set, groups))
    if not key_sets:
        return [], 0
    common = set.intersection(*key_sets)
    return sorted(common), len(set.union(*key_sets) - common)


def paired_difference(
    arm: Mapping[Key, float],
    reference: Mapping[Key, float],
    test: TestName = "t",
    alpha: float = 0.05,
) -> Difference:
    """Compare the values of an arm with those of the reference, paired by seed or by data set.

    Use `with_verdicts` to correct the p-values of several arms and to set their verdicts.

    Args:
        arm: Seed or data set -> value of the arm.
        reference: Seed or data set -> value of the reference.
        test: Test of the differences: "t", or "wilcoxon" for the signed-rank test.
        alpha: Two-sided level; the interval has the level 1 - alpha.

    Returns:
        The difference, without a corrected p-value. Only the t-test has an MDE.
    """
    keys = sorted(set(arm) & set(reference))
    missing = len(set(arm) | set(reference)) - len(keys)
    x = np.array([arm[key] for key in keys], dtype=float)
    y = np.array([reference[key] for key in keys], dtype=float)
    # 95 - 90 and 93 - 88 are equal but can differ as floats, so differences of the size of a
    # rounding error are set to 0.
    rounding = _ROUNDING * np.maximum(np.abs(x), np.abs(y))
    d = np.where(np.abs(x - y) <= rounding, 0.0, x - y)
    n = len(d)
    if n == 0:
        return Difference(0, missing)
    mean = float(d.mean())
    if n == 1:
        return Difference(1, missing, mean, verdict="one seed: no claim")
    sd = float(d.std(ddof=1))
    if sd <= rounding.max():
        return _build_constant_difference(n, missing, mean)
    half_width = float(stdtrit(n - 1, 1 - alpha / 2)) * sd / math.sqrt(n)
    if test == "t":
        p = _compute_t_test_p(mean, sd, n)
        detectable = minimum_detectable_effect(sd, n, alpha)
    else:
        p = signed_rank(d)
        detectable = None
    return Difference(
        n,
        missing,
        mean,
        mean - half_width,
        mean + half_width,
        p,
        effect_size=mean / sd,
        detectable=detectable,
    )


def _build_constant_difference(n: int, missing: int, mean: float) -> Difference:
    """Return the difference for pairs that all differ by the same amount."""
    if mean == 0:
        return Difference(n, missing, mean, mean, mean, 1.0, verdict="no effect detected")
    return Difference(n, missing, mean, mean, mean, None, verdict="no spread: no claim")


def minimum_detectable_effect(
    sd: float, n: int, alpha: float = 0.05, power: float = POWER
) -> float:
    """Return the minimum detectable effect (MDE) of a two-sided paired t-test.

    MDE = (t[1 - alpha / 2] + t[power]) sd / sqrt(n), with t quantiles for n - 1 degrees of freedom.

    Args:
        sd: Standard deviation of the paired differences.
        n: Number of pairs, at least 2.
        alpha: Two-sided significance level.
        power: Probability of detecting a difference of this size.

    Returns:
        The MDE, in the unit of `sd`.
    """
    return float(stdtrit(n - 1, 1 - alpha / 2) + stdtrit(n - 1, power)) * sd / math.sqrt(n)


def _compute_t_test_p(mean: float, sd: float, n: int) -> float:
    """Return the two-sided p-value of `scipy.stats.ttest_1samp`, computed directly.

    Calling `stdtr` is 20 times as fast, and sequential tests need thousands of p-values.
    """
    return float(2 * stdtr(n - 1, -abs(mean) / sd * math.sqrt(n)))


def signed_rank(d: npt.NDArray[np.float64]) -> float:
    """Return the two-sided p-value of the Wilcoxon signed-rank test, without zero differences.

    The p-value is exact for up to 25 nonzero differences, also with ties. For more differences it
    is the normal approximation of scipy.

    Args:
        d: Paired differences, shape (n,).

    Returns:
        The p-value; 1 if all differences are 0.
    """
    from scipy import stats as scipy_stats

    d = d[d != 0]
    if len(d) == 0:
        return 1.0
    if len(d) > _EXACT_PAIRS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(scipy_stats.wilcoxon(d, method="asymptotic").pvalue)
    # The exact distribution of scipy is wrong with ties. Under the null hypothesis each rank is
    # positive with probability 1/2. Ranks are multiples of 1/2, so doubled ranks are integers and
    # `ways[t]` counts the sign patterns whose positive doubled ranks sum to t.
    doubled = np.rint(2 * scipy_stats.rankdata(np.round(np.abs(d), 12))).astype(int)
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] = ways[rank:] + ways[:-rank]
    observed = min(doubled[d > 0].sum(), doubled[d < 0].sum())
    return float(min(1.0, 2 * ways[: observed + 1].sum() / ways.sum()))


def smallest_signed_rank(n: int) -> float:
    """Return the smallest two-sided signed-rank p-value that n pairs can reach.

    Args:
        n: Number of pairs with a nonzero difference.

    Returns:
        2^(1 - n) for up to 25 pairs, otherwise the p-value of n positive differences.
    """
    return 2.0 ** (1 - n) if n <= _EXACT_PAIRS else signed_rank(np.arange(1.0, n + 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the Holm-corrected p-values.

    statsmodels' `multipletests` gives the same numbers, but each call runs Python's garbage
    collector.

    Args:
        p_values: One p-value per comparison; None without a test.

    Returns:
        The corrected p-values in the same order. Comparisons without a test remain None and do
        not count in the correction.
    """
    tested = np.array([p for p in p_values if p is not None], dtype=float)
    order = np.argsort(tested, kind="stable")
    multipliers = np.arange(len(tested), 0, -1)
    corrected = np.empty_like(tested)
    corrected[order] = np.maximum.accumulate(tested[order] * multipliers).clip(max=1.0)
    values = iter(corrected.tolist())
    return [None if p is None else next(values) for p in p_values]


def with_verdicts(
    differences: Mapping[NameT, Difference], higher_is_better: bool | None, alpha: float = 0.05
) -> dict[NameT, Difference]:
    """Return the differences of one table column with Holm-corrected p-values and verdicts.

    Args:
        differences: Name -> difference, for all arms of the column.
        higher_is_better: Direction of the metric. None if neither direction is better, as for an
            interaction; a significant difference is then an "effect detected".
        alpha: Significance level of the corrected p-values.

    Returns:
        The differences by name, in the same order. A difference without a test keeps its verdict.
    """
    corrected = holm([difference.p for difference in differences.values()])
    result = {}
    for (name, difference), p in zip(differences.items(), corrected, strict=True):
        verdict = difference.verdict
        if p is not None and difference.mean is not None:
            verdict = "no effect detected"
            if p < alpha:
                verdict = _judge_direction(difference.mean, higher_is_better)
        result[name] = replace(difference, p_corrected=p, verdict=verdict)
    return result


def _judge_direction(mean: float, higher_is_better: bool | None) -> Verdict:
    """Return the verdict of a significant difference."""
    if higher_is_better is None:
        return "effect detected"
    return "helps" if (mean > 0) == higher_is_better else "hurts"
