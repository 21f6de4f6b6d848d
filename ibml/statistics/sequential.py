"""Looks at seeds one after the other: when an arm is decided and needs no more of them.

Group-sequential tests (Lan & DeMets 1983, O'Brien-Fleming type spending) of paired differences, several arms by Holm's
idea in sequence (Maurer & Bretz 2013, "Multiple testing in group sequential trials using graphical approaches").
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from ibml.statistics.paired import TestName, paired_difference

Floats = npt.NDArray[np.float64]

_BLOCK = 2**14
_BLOCKS = 16
_SEED = 0
_FAR = 38.0
"""Standard deviations beyond which a normal tail is zero in double precision."""


@dataclass(frozen=True)
class Decision:
    """An arm that differs from the reference: at the look after `seeds` seeds its p was at most `level`."""

    arm: str
    seeds: int
    p: float
    level: float


@dataclass(frozen=True)
class Progress:
    """Where a study with looks stands.

    looks: number of seeds at the last look that could be made, 0 before the first. wanted: seed -> arms, the reference
    among them, whose result the next look waits for; empty when finished.
    """

    decided: dict[str, Decision]
    looks: int
    wanted: dict[int, tuple[str, ...]]
    finished: bool


@dataclass(frozen=True)
class StopTest:
    """One test of an arm where it stopped: rejected if p is at most `level`; None where there is no test."""

    seeds: int
    p: float | None
    level: float | None
    rejected: bool


def boundaries(fractions: Sequence[float], alpha: float) -> list[float]:
    """c_k, in standard deviations, at increasing information fractions t_k in (0, 1], two-sided level alpha.

    Each side spends f(t) = 2 - 2 Phi(z[1 - a/2] / sqrt(t)), a = alpha / 2: c_k is where the Brownian score process
    leaves upward at t_k with probability f(t_k) - f(t_{k-1}), having stayed inside before (Armitage, McPherson & Rowe
    1969). Infinite where that is below what a double can hold.
    """
    edge = -float(ndtri(alpha / 4))
    steps = np.diff([0.0, *fractions])
    nodes, weights = _gauss(32 + math.ceil(3 * math.pi * edge / math.sqrt(steps.min())))
    places, density = np.zeros(1), np.ones(1)
    found, spent = [], 0.0
    for t, step in zip(fractions, np.sqrt(steps), strict=True):
        total = 2 * float(ndtr(-edge / math.sqrt(t)))
        c = _boundary(places, density, math.sqrt(t), step, total - spent)
        # No boundary of this spending lies beyond `edge` on the score's scale, so an infinite one is cut there.
        bound = min(c * math.sqrt(t), edge)
        inside = bound * nodes
        kernel = np.exp(-0.5 * ((inside[:, None] - places) / step) ** 2) / (
            step * math.sqrt(2 * math.pi)
        )
        places, density = inside, bound * weights * (kernel @ density)
        found.append(c)
        spent = total
    return found


def nominal_levels(minimum: int, maximum: int, alpha: float) -> dict[int, float]:
    """Number of seeds n -> two-sided level p_n of the look after n seeds, minimum <= n <= maximum.

    p_n = factor * 2 (1 - Phi(c_n)), information n / maximum. The t-statistics of few seeds are no Brownian motion, so
    the factor is chosen for the share of simulated null paths that pass a level to be exactly alpha. A single look is
    a t-test, whose level needs no correction. Takes minimum >= 2; memory 1 MB a look while paths are kept.
    """
    if not 2 <= minimum <= maximum:
        raise ValueError(f"looks need 2 <= minimum <= maximum, not {minimum} and {maximum}")
    return dict(zip(range(minimum, maximum + 1), _levels(minimum, maximum, alpha), strict=True))


def follow(
    arms: Mapping[str, Mapping[int, float | None]],
    reference: str,
    seeds: Sequence[int],
    minimum: int,
    alpha: float,
    test: TestName = "t",
) -> Progress:
    """Make every look that the results allow, the first n of `seeds` at a time, n from `minimum` on.

    arms: arm, the reference among them -> seed -> value; None if the trial ended without one. With q arms undecided
    each is tested at the level for alpha / q, and a decided arm hands its share on at once. The looks are counted in
    seeds, not pairs, so that a failed trial delays nothing. An arm without a p is not decided. The levels are
    calibrated for t; signed-rank p-values, being discrete, stay below them.
    """
    decided: dict[str, Decision] = {}
    looks = 0
    for n in range(minimum, len(seeds) + 1):
        undecided = [arm for arm in arms if arm != reference and arm not in decided]
        if looks and not undecided:
            break
        wanted = _without_entry(
            arms, [arm for arm in arms if arm == reference or arm in undecided], seeds[:n]
        )
        if wanted:
            return Progress(decided, looks, wanted, finished=False)
        looks = n
        p_values = {
            arm: _p_of_first(arms[arm], arms[reference], seeds[:n], test) for arm in undecided
        }
        decided |= _decide(p_values, n, len(seeds), minimum, alpha)
    return Progress(decided, looks, {}, finished=True)


def at_stop(
    p_values: Mapping[str, float | None],
    seeds: Mapping[str, int],
    minimum: int,
    maximum: int,
    alpha: float,
) -> dict[str, StopTest]:
    """Test a metric that did not steer the stopping: each arm once, after the seeds it had when it stopped.

    Arms are taken in Holm's order against the levels of their looks, from alpha / m on for the m arms with a p. This
    holds for any stopping rule: whichever look an arm stopped at, its null is rejected only if its path passes the
    boundary there, and the boundary is passed at any look at all with probability alpha / q at most.
    """
    result = {arm: StopTest(seeds[arm], p, None, False) for arm, p in p_values.items()}
    open_arms = {arm: p for arm, p in p_values.items() if p is not None and seeds[arm] >= minimum}
    while open_arms:
        levels = nominal_levels(minimum, maximum, alpha / len(open_arms))
        rejected = {arm for arm, p in open_arms.items() if p <= levels[seeds[arm]]}
        # Those left over at this level are tested again at a higher one, unless nobody gave them a share.
        for arm in rejected or open_arms:
            result[arm] = StopTest(seeds[arm], open_arms[arm], levels[seeds[arm]], arm in rejected)
        if not rejected:
            break
        open_arms = {arm: p for arm, p in open_arms.items() if arm not in rejected}
    return result


def _boundary(places: Floats, density: Floats, root: float, step: float, spend: float) -> float:
    from scipy.optimize import brentq

    if spend <= 0:
        return math.inf

    def excess(c: float) -> float:
        return float(density @ ndtr((places - c * root) / step)) - spend

    return float(brentq(excess, 0.0, _FAR, xtol=1e-12))


@lru_cache(maxsize=8)
def _gauss(count: int) -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(count)


@lru_cache(maxsize=256)
def _levels(minimum: int, maximum: int, alpha: float) -> tuple[float, ...]:
    if minimum == maximum:
        return (alpha,)
    counts = range(minimum, maximum + 1)
    plain = 2 * ndtr(-np.array(boundaries([n / maximum for n in counts], alpha)))
    paths = _null_paths(minimum, maximum)
    # The smallest p_n / plain_n of a path says from which factor on it errs.
    smallest = np.ones(paths.shape[1])
    for n, level, t in zip(counts, plain, paths, strict=True):
        if level == 0:
            continue
        passing = np.flatnonzero(t >= -stdtrit(n - 1, level / 2))
        p = 2 * stdtr(n - 1, -t[passing].astype(float))
        smallest[passing] = np.minimum(smallest[passing], p / level)
    last = max(1, round(alpha * len(smallest)))
    factor = np.partition(smallest, [last - 1, last])[last - 1 : last + 1].mean()
    return tuple((factor * plain).tolist())


@lru_cache(maxsize=1)
def _null_paths(minimum: int, maximum: int) -> npt.NDArray[np.float32]:
    """|t| of the first n of `maximum` standard normals, n from minimum: shape (looks, paths).

    Scrambled Sobol points: at 2^18 paths the factor's standard deviation is 0.3 % against 1 % of random ones.
    """
    from scipy.stats import qmc

    sobol = qmc.Sobol(maximum, rng=np.random.default_rng(_SEED))
    return np.concatenate(
        [_statistics(ndtri(sobol.random(_BLOCK)), minimum) for _ in range(_BLOCKS)], axis=1
    )


def _statistics(d: Floats, minimum: int) -> npt.NDArray[np.float32]:
    """|t| of the first n columns of d (paths, n), by Welford's sums, which do not cancel when a spread is small."""
    mean, squares = np.zeros(len(d)), np.zeros(len(d))
    result = []
    for n, column in enumerate(d.T, start=1):
        gap = column - mean
        mean = mean + gap / n
        squares = squares + gap**2 * ((n - 1) / n)
        if n >= minimum:
            result.append((np.abs(mean) * np.sqrt(n * (n - 1) / squares)).astype(np.float32))
    return np.array(result)


def _without_entry(
    arms: Mapping[str, Mapping[int, float | None]], needed: Sequence[str], seeds: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    lacking = {seed: tuple(arm for arm in needed if seed not in arms[arm]) for seed in seeds}
    return {seed: names for seed, names in lacking.items() if names}


def _p_of_first(
    arm: Mapping[int, float | None],
    reference: Mapping[int, float | None],
    seeds: Sequence[int],
    test: TestName,
) -> float | None:
    x, y = ({s: v for s in seeds if (v := values[s]) is not None} for values in (arm, reference))
    return paired_difference(x, y, test).p


def _decide(
    p_values: Mapping[str, float | None], n: int, maximum: int, minimum: int, alpha: float
) -> dict[str, Decision]:
    """The arms that one look decides, smallest p first."""
    tested = sorted((p, arm) for arm, p in p_values.items() if p is not None)
    shares = itertools.count(len(p_values), -1)
    decided: dict[str, Decision] = {}
    for (p, arm), share in zip(tested, shares, strict=False):
        level = nominal_levels(minimum, maximum, alpha / share)[n]
        if p > level:
            break
        decided[arm] = Decision(arm, n, p, level)
    return decided
