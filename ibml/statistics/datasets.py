"""Arms over several data sets: ranks, signed-rank tests, groups not told apart, probability of improvement.

Demsar 2006, "Statistical comparisons of classifiers over multiple data sets"; Benavoli et al. 2016, "Should we really
use post-hoc tests based on mean-ranks?"; Agarwal et al. 2021, "Deep reinforcement learning at the edge of the
statistical precipice".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from ibml.statistics.paired import Difference, holm, paired_difference, signed_rank, with_verdicts

LEAST_DATASETS = 6
"""With five the smallest two-sided signed-rank p is 0.0625."""

Means = Mapping[str, Mapping[str, float]]
"""Arm -> data set -> mean."""

_RESAMPLES_SEED = 0
_DIGITS = 12


@dataclass(frozen=True)
class Ranks:
    """Average rank by arm, 1 is best, over `datasets` data sets; `missing` others lack an arm's mean."""

    ranks: dict[str, float]
    datasets: int
    missing: int


@dataclass(frozen=True)
class Improvement:
    """P(a run of the arm is better than one of the reference), mean over data sets, with its bootstrap interval.

    None is what no data set, or a single run, does not allow to say.
    """

    probability: float | None
    low: float | None
    high: float | None
    datasets: int


def average_ranks(means: Means, higher_is_better: bool) -> Ranks:
    """Ranks within each data set that all arms have, averaged; ties share their average rank."""
    datasets, missing = _complete_datasets(means)
    if not datasets:
        return Ranks({}, 0, missing)
    ranks = rankdata(_table(means, datasets) * (-1 if higher_is_better else 1), axis=0).mean(axis=1)
    return Ranks(dict(zip(means, ranks.tolist(), strict=True)), len(datasets), missing)


def signed_rank_over_datasets(
    means: Means, reference: str, higher_is_better: bool, alpha: float = 0.05
) -> dict[str, Difference]:
    """Each arm against the reference over the data sets that both have, Holm over the arms.

    The differences are those of `paired_difference` with a data set in a seed's place. Under LEAST_DATASETS data sets
    there are their number and mean, and "too few data sets".
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


def improvement(
    arm: Mapping[str, Sequence[float]],
    reference: Mapping[str, Sequence[float]],
    higher_is_better: bool,
    alpha: float = 0.05,
    resamples: int = 2000,
) -> Improvement:
    """Mean over data sets of P(X > Y) + P(X = Y) / 2, X a run of the arm, Y one of the reference.

    Percentile interval of a stratified bootstrap: runs are drawn anew within each data set and arm (Agarwal et al.
    2021). A data set with a single run on a side has nothing to draw from, so there is no interval then.
    """
    datasets = [name for name in arm if len(arm[name]) and len(reference.get(name, ()))]
    if not datasets:
        return Improvement(None, None, None, 0)
    generator = np.random.default_rng(_RESAMPLES_SEED)
    sign = 1 if higher_is_better else -1
    probabilities, resampled = [], []
    for name in datasets:
        x, y = (sign * np.asarray(runs[name], dtype=float) for runs in (arm, reference))
        wins = (np.sign(x[:, None] - y) + 1) / 2
        # How often each run is drawn says all about a draw; (resamples, runs of X) and (resamples, runs of Y).
        drawn_x, drawn_y = (_draw_counts(generator, len(side), resamples) for side in (x, y))
        probabilities.append(wins.mean())
        resampled.append(((drawn_x @ wins) * drawn_y).sum(axis=1) / wins.size)
    low = high = None
    if all(min(len(arm[name]), len(reference[name])) > 1 for name in datasets):
        low, high = np.quantile(np.mean(resampled, axis=0), [alpha / 2, 1 - alpha / 2]).tolist()
    return Improvement(float(np.mean(probabilities)), low, high, len(datasets))


def not_told_apart(
    means: Means, higher_is_better: bool, alpha: float = 0.05
) -> list[tuple[str, ...]]:
    """Groups of arms for a critical-difference diagram: maximal sets of two or more of which no pair differs.

    Signed-rank tests of all pairs over the data sets that all arms have, Holm over the pairs (Benavoli et al. 2016).
    Arms within a group, and groups, are in the order of average ranks. scikit-posthocs' `posthoc_wilcoxon` is the same
    without ties; from 14 data sets on it is approximate with ties, and not a number where two arms are equal.
    """
    datasets, _ = _complete_datasets(means)
    if not datasets or len(means) < 2:
        return []
    ranks = average_ranks(means, higher_is_better).ranks
    ordered = sorted(means, key=lambda arm: (ranks[arm], arm))
    table = _table({arm: means[arm] for arm in ordered}, datasets)
    pairs = list(combinations(range(len(ordered)), 2))
    together = np.ones((len(ordered), len(ordered)), dtype=bool)
    for (i, j), p in zip(
        pairs, holm([signed_rank(table[i] - table[j]) for i, j in pairs]), strict=True
    ):
        together[i, j] = together[j, i] = p is None or p >= alpha
    return [tuple(ordered[i] for i in group) for group in _cliques(together)]


def _cliques(together: npt.NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """The maximal cliques of two or more nodes, by Bron & Kerbosch 1973."""
    count = len(together)
    neighbours = {i: {j for j in range(count) if j != i and together[i, j]} for i in range(count)}
    found: list[tuple[int, ...]] = []

    def extend(clique: set[int], candidates: set[int], excluded: set[int]) -> None:
        if not candidates and not excluded and len(clique) > 1:
            found.append(tuple(sorted(clique)))
        for node in sorted(candidates):
            extend(clique | {node}, candidates & neighbours[node], excluded & neighbours[node])
            candidates = candidates - {node}
            excluded = excluded | {node}

    extend(set(), set(range(count)), set())
    return sorted(found)


def _complete_datasets(means: Means) -> tuple[list[str], int]:
    """The data sets of which every arm has a mean, and how many others there are."""
    by_arm = [set(by_dataset) for by_dataset in means.values()]
    common = set.intersection(*by_arm) if by_arm else set()
    return sorted(common), len(set().union(*by_arm) - common)


def _table(means: Means, datasets: Sequence[str]) -> npt.NDArray[np.float64]:
    """Shape (arms, data sets); numbers of one data set that differ by their rounding alone are made equal."""
    table = np.array(
        [[by_dataset[name] for name in datasets] for by_dataset in means.values()], dtype=float
    )
    scale = 10.0 ** np.ceil(np.log10(np.maximum(np.abs(table).max(axis=0), np.finfo(float).tiny)))
    rounded: npt.NDArray[np.float64] = np.round(table / scale, _DIGITS) * scale
    return rounded


def _draw_counts(
    generator: np.random.Generator, runs: int, resamples: int
) -> npt.NDArray[np.int64]:
    return generator.multinomial(runs, np.full(runs, 1 / runs), size=resamples)
