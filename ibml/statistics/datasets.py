"""Comparisons of arms over several data sets: ranks, signed-rank tests, probability of improvement.

Demsar, 2006, "Statistical comparisons of classifiers over multiple data sets"; Benavoli et al.,
2016, "Should we really use post-hoc tests based on mean-ranks?"; Agarwal et al., 2021, "Deep
reinforcement learning at the edge of the statistical precipice".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from ibml.statistics.paired import (
    Difference,
    find_complete_keys,
    holm,
    paired_difference,
    signed_rank,
    with_verdicts,
)

LEAST_DATASETS = 6
"""Smallest number of data sets to test: with 5, no two-sided signed-rank p is below 0.0625."""

Means = Mapping[str, Mapping[str, float]]
"""Arm -> data set -> mean."""

_RESAMPLES_SEED = 0
"""Seed of the bootstrap."""
_DIGITS = 12
"""Significant digits up to which means of a data set are compared."""


@dataclass(frozen=True)
class Ranks:
    """Average ranks of the arms over the data sets for which every arm has a mean.

    Attributes:
        ranks: Arm -> average rank; 1 is the best. Empty without common data sets.
        datasets: Number of data sets for which every arm has a mean.
        missing: Number of other data sets.
    """

    ranks: dict[str, float]
    datasets: int
    missing: int


@dataclass(frozen=True)
class Improvement:
    """Probability that a run of an arm is better than a run of the reference.

    Attributes:
        probability: Mean of the probability over data sets; None without common data sets.
        low: Lower limit of the bootstrap interval; None if a data set has a single run of the arm
            or of the reference.
        high: Upper limit of this interval.
        datasets: Number of data sets with runs of both.
    """

    probability: float | None
    low: float | None
    high: float | None
    datasets: int


def average_ranks(means: Means, higher_is_better: bool) -> Ranks:
    """Rank the arms within each data set and average the ranks; ties share their average rank.

    Args:
        means: Arm -> data set -> mean. Data sets for which an arm has no mean are excluded.
        higher_is_better: Direction of the metric.

    Returns:
        The average ranks.
    """
    datasets, missing = find_complete_keys(means.values())
    if not datasets:
        return Ranks({}, 0, missing)
    sign = -1 if higher_is_better else 1
    ranks = rankdata(_tabulate(means, list(means), datasets) * sign, axis=0).mean(axis=1)
    return Ranks(dict(zip(means, ranks.tolist(), strict=True)), len(datasets), missing)


def signed_rank_over_datasets(
    means: Means, reference: str, higher_is_better: bool, alpha: float = 0.05
) -> dict[str, Difference]:
    """Test each arm against the reference over the data sets that both have.

    The differences are those of `paired_difference` with data sets instead of seeds.

    Args:
        means: Arm -> data set -> mean, including the reference.
        reference: Name of the reference arm.
        higher_is_better: Direction of the metric.
        alpha: Significance level.

    Returns:
        Arm -> difference, with p-values Holm-corrected over the arms. For fewer than
        `LEAST_DATASETS` data sets only their number and the mean are set, and the verdict is
        "too few data sets".
    """
    found = {}
    for arm, by_dataset in means.items():
        if arm == reference:
            continue
        difference = paired_difference(by_dataset, means[reference], "wilcoxon", alpha)
        if difference.n < LEAST_DATASETS:
            difference = Difference(
                difference.n,
                difference.missing,
                difference.mean,
                verdict="too few data sets" if difference.n else "no pairs",
            )
        found[arm] = difference
    return with_verdicts(found, higher_is_better, alpha)


def estimate_improvement(
    arm: Mapping[str, Sequence[float]],
    reference: Mapping[str, Sequence[float]],
    higher_is_better: bool,
    alpha: float = 0.05,
    resamples: int = 2000,
) -> Improvement:
    """Estimate the probability of improvement of an arm over the reference.

    The estimate is the mean over data sets of P(X > Y) + P(X = Y) / 2, where X is a run of the arm
    and Y a run of the reference. The interval consists of percentiles of a stratified bootstrap,
    which resamples the runs within each data set and arm (Agarwal et al., 2021).

    Args:
        arm: Data set -> results of the runs of the arm.
        reference: Data set -> results of the runs of the reference.
        higher_is_better: Direction of the metric.
        alpha: The interval has the level 1 - alpha.
        resamples: Number of bootstrap resamples.

    Returns:
        The probability over the data sets with runs of both. There is no interval if a data set
        has a single run on one side, since a single run cannot be resampled.
    """
    datasets = [name for name in arm if len(arm[name]) and len(reference.get(name, ()))]
    if not datasets:
        return Improvement(None, None, None, 0)
    generator = np.random.default_rng(_RESAMPLES_SEED)
    sign = 1 if higher_is_better else -1
    probabilities, resampled = [], []
    for name in datasets:
        x = sign * np.asarray(arm[name], dtype=float)
        y = sign * np.asarray(reference[name], dtype=float)
        wins = (np.sign(x[:, None] - y) + 1) / 2
        # A resample is determined by the number of times that it contains each run:
        # shapes (resamples, runs of X) and (resamples, runs of Y).
        counts_x = _draw_counts(generator, len(x), resamples)
        counts_y = _draw_counts(generator, len(y), resamples)
        probabilities.append(wins.mean())
        resampled.append(((counts_x @ wins) * counts_y).sum(axis=1) / wins.size)
    low = high = None
    if all(min(len(arm[name]), len(reference[name])) > 1 for name in datasets):
        low, high = np.quantile(np.mean(resampled, axis=0), [alpha / 2, 1 - alpha / 2]).tolist()
    return Improvement(float(np.mean(probabilities)), low, high, len(datasets))


def find_nonsignificant_groups(
    means: Means, higher_is_better: bool, alpha: float = 0.05
) -> list[tuple[str, ...]]:
    """Return the groups of a critical-difference diagram: arms without significant differences.

    A group is a maximal set of two or more arms of which no pair differs significantly. Pairs are
    compared by signed-rank tests over the data sets that all arms have, with Holm correction over
    the pairs (Benavoli et al., 2016).

    scikit-posthocs' `posthoc_wilcoxon` gives the same p-values without ties. With ties it is
    approximate from 14 data sets on, and NaN for two equal arms.

    Args:
        means: Arm -> data set -> mean.
        higher_is_better: Direction of the metric.
        alpha: Significance level of the corrected tests.

    Returns:
        The groups. Arms within a group, and the groups, are in the order of average ranks.
    """
    datasets, _ = find_complete_keys(means.values())
    if not datasets or len(means) < 2:
        return []
    ranks = average_ranks(means, higher_is_better).ranks
    ordered = sorted(means, key=lambda arm: (ranks[arm], arm))
    table = _tabulate(means, ordered, datasets)
    pairs = list(combinations(range(len(ordered)), 2))
    p_values = holm([signed_rank(table[i] - table[j]) for i, j in pairs])
    connected = np.ones((len(ordered), len(ordered)), dtype=bool)
    for (i, j), p in zip(pairs, p_values, strict=True):
        connected[i, j] = connected[j, i] = p is None or p >= alpha
    groups = []
    for clique in _find_cliques(connected):
        groups.append(tuple(ordered[i] for i in clique))
    return groups


def _find_cliques(connected: npt.NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """Return the maximal cliques of two or more nodes (Bron & Kerbosch, 1973).

    Args:
        connected: Symmetric adjacency matrix, shape (nodes, nodes); the diagonal is ignored.

    Returns:
        The cliques as sorted tuples of node indices, in lexicographic order.
    """
    neighbours = {}
    for node, row in enumerate(connected):
        neighbours[node] = set(np.flatnonzero(row).tolist()) - {node}
    found: list[tuple[int, ...]] = []

    def extend(clique: set[int], candidates: set[int], excluded: set[int]) -> None:
        if not candidates and not excluded and len(clique) > 1:
            found.append(tuple(sorted(clique)))
        for node in sorted(candidates):
            extend(clique | {node}, candidates & neighbours[node], excluded & neighbours[node])
            candidates = candidates - {node}
            excluded = excluded | {node}

    extend(set(), set(neighbours), set())
    return sorted(found)


def _tabulate(
    means: Means, arms: Sequence[str], datasets: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Return the means as an array, shape (arms, data sets), without rounding errors.

    The means of a data set are rounded to `_DIGITS` digits, relative to the largest of them, so
    that means that differ only by rounding errors are ties.
    """
    rows = []
    for arm in arms:
        rows.append([means[arm][name] for name in datasets])
    table = np.array(rows, dtype=float)
    scale = 10.0 ** np.ceil(np.log10(np.maximum(np.abs(table).max(axis=0), np.finfo(float).tiny)))
    rounded: npt.NDArray[np.float64] = np.round(table / scale, _DIGITS) * scale
    return rounded


def _draw_counts(
    generator: np.random.Generator, runs: int, resamples: int
) -> npt.NDArray[np.int64]:
    """Draw bootstrap resamples; return the count of each run, shape (resamples, runs)."""
    return generator.multinomial(runs, np.full(runs, 1 / runs), size=resamples)
