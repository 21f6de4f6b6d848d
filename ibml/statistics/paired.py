"""Statistics of paired comparisons, by scipy where it has them.

Seeds are common random numbers, so arms are compared by paired differences d_s = x_arm,s - x_ref,s.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
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
"""What pairs two values: a seed, or a data set's name."""

POWER = 0.8

_EXACT_PAIRS = 25
_ROUNDING = 1e-12
"""Relative size below which a difference of two numbers is their rounding."""


@dataclass(frozen=True)
class Summary:
    """A cell: number of seeds, mean, and standard deviation with n - 1 (none for one seed)."""

    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Difference:
    """An arm against the reference over the n seeds that both have; `missing` seeds lack one side.

    mean of d, its 1 - alpha t interval, two-sided p and Holm-corrected p, effect size
    d_z = mean(d) / sd(d), and the smallest difference that a t-test of n pairs detects with power 0.8, before
    correction. None is what n, the spread or the test do not allow to say.
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
    if not values:
        return Summary(0, None, None)
    array = np.asarray(values, dtype=float)
    return Summary(
        len(array), float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None
    )


def paired_difference(
    arm: Mapping[Key, float],
    reference: Mapping[Key, float],
    test: TestName = "t",
    alpha: float = 0.05,
) -> Difference:
    """Compare values by seed, or by data set. The correction and the verdict come from `with_verdicts`."""
    keys = sorted(set(arm) & set(reference))
    missing = len(set(arm) | set(reference)) - len(keys)
    x, y = (np.array([values[key] for key in keys], dtype=float) for values in (arm, reference))
    # 95 - 90 and 93 - 88 are the same gap but not the same float: what rounding makes is no difference.
    rounding = _ROUNDING * np.maximum(np.abs(x), np.abs(y))
    d = np.where(np.abs(x - y) <= rounding, 0.0, x - y)
    n = len(d)
    if n == 0:
        return Difference(0, missing)
    mean = float(d.mean())
    if n == 1:
        return Difference(1, missing, mean, verdict="one seed: no claim")
    sd = float(d.std(ddof=1))
    sd = 0.0 if sd <= rounding.max() else sd
    half = float(stdtrit(n - 1, 1 - alpha / 2)) * sd / math.sqrt(n)
    if sd == 0:
        verdict: Verdict = "no effect detected" if mean == 0 else "no spread: no claim"
        return Difference(n, missing, mean, mean, mean, 1.0 if mean == 0 else None, verdict=verdict)
    return Difference(
        n,
        missing,
        mean,
        mean - half,
        mean + half,
        _t_test(mean, sd, n) if test == "t" else signed_rank(d),
        effect_size=mean / sd,
        detectable=minimum_detectable(sd, n, alpha) if test == "t" else None,
    )


def minimum_detectable(sd: float, n: int, alpha: float = 0.05, power: float = POWER) -> float:
    """(t[1 - alpha / 2] + t[power]) sd / sqrt(n), t with n - 1 degrees of freedom."""
    return float(stdtrit(n - 1, 1 - alpha / 2) + stdtrit(n - 1, power)) * sd / math.sqrt(n)


def _t_test(mean: float, sd: float, n: int) -> float:
    """`scipy.stats.ttest_1samp`'s p by the function below it, 20 times as fast: looks at seeds take thousands."""
    return float(2 * stdtr(n - 1, -abs(mean) / sd * math.sqrt(n)))


def signed_rank(d: npt.NDArray[np.float64]) -> float:
    """Two-sided Wilcoxon signed-rank p, zeros left out: exact up to 25 pairs, with ties too; scipy's normal
    approximation beyond."""
    from scipy import stats as scipy_stats

    d = d[d != 0]
    if len(d) == 0:
        return 1.0
    if len(d) > _EXACT_PAIRS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(scipy_stats.wilcoxon(d, method="asymptotic").pvalue)
    # scipy's exact distribution is wrong under ties. Under the null each rank's sign is a fair coin; ranks
    # are halves at worst, so their doubles are whole numbers and the sums can be counted.
    doubled = np.rint(2 * scipy_stats.rankdata(np.round(np.abs(d), 12))).astype(int)
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] = ways[rank:] + ways[:-rank]
    observed = min(doubled[d > 0].sum(), doubled[d < 0].sum())
    return float(min(1.0, 2 * ways[: observed + 1].sum() / ways.sum()))


def smallest_signed_rank(n: int) -> float:
    """Return the smallest two-sided signed-rank p of n pairs, none of which is equal: 2^(1 - n) up to 25 pairs."""
    return 2.0 ** (1 - n) if n <= _EXACT_PAIRS else signed_rank(np.arange(1.0, n + 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm-corrected p-values; where there is no test there is nothing to correct for.

    statsmodels' `multipletests` gives the same numbers, but collects all of Python's garbage at each call.
    """
    tested = np.array([p for p in p_values if p is not None], dtype=float)
    order = np.argsort(tested, kind="stable")
    corrected = np.empty_like(tested)
    corrected[order] = np.maximum.accumulate(tested[order] * np.arange(len(tested), 0, -1)).clip(
        max=1.0
    )
    values = iter(corrected.tolist())
    return [None if p is None else next(values) for p in p_values]


def with_verdicts(
    differences: Mapping[NameT, Difference], higher_is_better: bool | None, alpha: float = 0.05
) -> dict[NameT, Difference]:
    """The differences of all arms in one column, with Holm-corrected p and verdicts.

    An effect that is good or bad in neither direction, as an interaction, is given without one: "effect detected".
    """
    corrected = holm([d.p for d in differences.values()])
    result = {}
    for (name, difference), p in zip(differences.items(), corrected, strict=True):
        verdict = difference.verdict
        if p is not None and difference.mean is not None:
            verdict = (
                _direction(difference.mean, higher_is_better) if p < alpha else "no effect detected"
            )
        result[name] = replace(difference, p_corrected=p, verdict=verdict)
    return result


def _direction(mean: float, higher_is_better: bool | None) -> Verdict:
    if higher_is_better is None:
        return "effect detected"
    return "helps" if (mean > 0) == higher_is_better else "hurts"
