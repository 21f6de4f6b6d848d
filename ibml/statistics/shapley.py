"""Exact Shapley values and pairwise interactions of the parts of a two-level design.

Shapley, 1953; pairwise interaction index of Grabisch & Roubens, 1999, "An axiomatic approach to
the concept of interaction among players in cooperative games", eq. 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import factorial

from ibml.config.study.designs import MAX_COMPONENTS
from ibml.statistics.paired import (
    Difference,
    find_complete_keys,
    paired_difference,
    with_verdicts,
)

Worth = Mapping[frozenset[str], Mapping[int, float]]
"""Set of enabled parts -> seed -> value."""


@dataclass(frozen=True)
class Contribution:
    """Shapley value of one part, or interaction of two parts, over the seeds with all cells.

    Attributes:
        parts: The part, or the two parts that interact.
        difference: Mean contribution over seeds with its t interval, test and verdict.
            `difference.missing` counts the seeds for which a cell has no value.
    """

    parts: tuple[str, ...]
    difference: Difference


def shapley(parts: Sequence[str], values: Worth, alpha: float = 0.05) -> list[Contribution]:
    """Return the Shapley value of each part, with t intervals over seeds and Holm correction.

    Per seed, phi_i = sum over S without i of |S|! (k - |S| - 1)! / k! (v(S + i) - v(S)). The
    contributions of a seed sum to v(all) - v(none).

    Args:
        parts: Names of the k parts, all different, at most `MAX_COMPONENTS`.
        values: Value per seed for each of the 2^k subsets of the parts.
        alpha: Significance level of the tests; intervals have the level 1 - alpha.

    Returns:
        One contribution per part, in the order of `parts`. The p-values are corrected over the
        parts.

    Raises:
        ValueError: If parts are repeated or too many, or if a subset has no values.
    """
    seeds, missing = _find_complete_seeds(parts, values)
    found: dict[tuple[str, ...], Difference] = {}
    for part in parts:
        weighted = _weigh_subsets(set(parts) - {part})
        plus: dict[int, float] = {}
        minus: dict[int, float] = {}
        for seed in seeds:
            plus[seed] = sum(w * values[s | {part}][seed] for w, s in weighted)
            minus[seed] = sum(w * values[s][seed] for w, s in weighted)
        found[part,] = _test_contrast(plus, minus, missing, alpha)
    return _build_contributions(found, alpha)


def shapley_interactions(
    parts: Sequence[str], values: Worth, alpha: float = 0.05
) -> list[Contribution]:
    """Return the interaction index of each pair of parts; positive for complementary parts.

    Per seed, I_ij = sum over S without i, j of
    |S|! (k - |S| - 2)! / (k - 1)! (v(S + ij) - v(S + i) - v(S + j) + v(S)).
    Two parts with a positive index contribute more together than separately.

    Args:
        parts: Names of the k parts, all different, at most `MAX_COMPONENTS`.
        values: Value per seed for each of the 2^k subsets of the parts.
        alpha: Significance level of the tests; intervals have the level 1 - alpha.

    Returns:
        One contribution per pair of parts, with a t interval over seeds. The p-values are
        Holm-corrected over the pairs.

    Raises:
        ValueError: If parts are repeated or too many, or if a subset has no values.
    """
    seeds, missing = _find_complete_seeds(parts, values)
    found: dict[tuple[str, ...], Difference] = {}
    for i, j in combinations(parts, 2):
        weighted = _weigh_subsets(set(parts) - {i, j})
        plus: dict[int, float] = {}
        minus: dict[int, float] = {}
        for seed in seeds:
            plus[seed] = sum(w * (values[s | {i, j}][seed] + values[s][seed]) for w, s in weighted)
            minus[seed] = sum(
                w * (values[s | {i}][seed] + values[s | {j}][seed]) for w, s in weighted
            )
        found[i, j] = _test_contrast(plus, minus, missing, alpha)
    return _build_contributions(found, alpha)


def _weigh_subsets(others: Iterable[str]) -> list[tuple[float, frozenset[str]]]:
    """Return each subset S of the n other parts with its weight |S|! (n - |S|)! / (n + 1)!.

    With n = k - 1 this is the weight of a Shapley value, with n = k - 2 that of an interaction.
    """
    names = list(others)
    n = len(names)
    weighted = []
    for subset in _list_subsets(names):
        weight = factorial(len(subset)) * factorial(n - len(subset)) / factorial(n + 1)
        weighted.append((weight, subset))
    return weighted


def _list_subsets(parts: Iterable[str]) -> list[frozenset[str]]:
    """Return all subsets of the parts, from the empty set to the full set."""
    ordered = sorted(parts)
    subsets: list[frozenset[str]] = []
    for size in range(len(ordered) + 1):
        subsets += map(frozenset, combinations(ordered, size))
    return subsets


def _find_complete_seeds(parts: Sequence[str], values: Worth) -> tuple[list[int], int]:
    """Return the seeds that every subset has, and the number of other seeds."""
    if len(set(parts)) != len(parts) or len(parts) > MAX_COMPONENTS:
        raise ValueError(
            f"Shapley values need at most {MAX_COMPONENTS} different parts, not {', '.join(parts)}"
        )
    by_subset = []
    for subset in _list_subsets(parts):
        if subset not in values:
            raise ValueError(f"no values with {' + '.join(sorted(subset)) or 'all parts off'}")
        by_subset.append(values[subset])
    return find_complete_keys(by_subset)


def _test_contrast(
    plus: Mapping[int, float], minus: Mapping[int, float], missing: int, alpha: float
) -> Difference:
    """Test the mean of plus - minus over seeds."""
    return replace(paired_difference(plus, minus, "t", alpha), missing=missing)


def _build_contributions(
    found: Mapping[tuple[str, ...], Difference], alpha: float
) -> list[Contribution]:
    """Return the contributions with Holm-corrected p-values and verdicts."""
    corrected = with_verdicts(found, None, alpha)
    return [Contribution(parts, difference) for parts, difference in corrected.items()]
