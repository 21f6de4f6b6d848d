"""What each part is worth: exact Shapley values of a two-level design, and their interactions.

Shapley 1953; pairwise interaction index of Grabisch & Roubens 1999, "An axiomatic approach to the concept of
interaction among players in cooperative games", eq. 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import factorial

from ibml.config.study.designs import MAX_COMPONENTS
from ibml.statistics.paired import Difference, paired_difference, with_verdicts

Worth = Mapping[frozenset[str], Mapping[int, float]]
"""Parts that are on -> seed -> value."""


@dataclass(frozen=True)
class Contribution:
    """The Shapley value of one part, or the interaction of two, over the seeds that have every cell."""

    parts: tuple[str, ...]
    difference: Difference


def shapley(parts: Sequence[str], values: Worth, alpha: float = 0.05) -> list[Contribution]:
    """phi_i = sum over S without i of |S|! (k-|S|-1)! / k! (v(S+i) - v(S)) per seed, t intervals over seeds, Holm.

    values holds all 2^k subsets of the k parts. Per seed the contributions sum to v(all) - v(none).
    """
    seeds, missing = _complete_seeds(parts, values)
    k = len(parts)
    found: dict[tuple[str, ...], Difference] = {}
    for part in parts:
        weighted = [
            (factorial(len(s)) * factorial(k - len(s) - 1) / factorial(k), s)
            for s in _subsets(set(parts) - {part})
        ]
        found[part,] = _contrast(
            {seed: sum(w * values[s | {part}][seed] for w, s in weighted) for seed in seeds},
            {seed: sum(w * values[s][seed] for w, s in weighted) for seed in seeds},
            missing,
            alpha,
        )
    return _corrected(found, alpha)


def shapley_interactions(
    parts: Sequence[str], values: Worth, alpha: float = 0.05
) -> list[Contribution]:
    """I_ij = sum over S without i, j of |S|! (k-|S|-2)! / (k-1)! (v(S+ij) - v(S+i) - v(S+j) + v(S)) per seed.

    Positive: worth more together than one by one. Intervals and correction over the pairs as in `shapley`.
    """
    seeds, missing = _complete_seeds(parts, values)
    k = len(parts)
    found: dict[tuple[str, ...], Difference] = {}
    for i, j in combinations(parts, 2):
        weighted = [
            (factorial(len(s)) * factorial(k - len(s) - 2) / factorial(k - 1), s)
            for s in _subsets(set(parts) - {i, j})
        ]
        found[i, j] = _contrast(
            {
                seed: sum(w * (values[s | {i, j}][seed] + values[s][seed]) for w, s in weighted)
                for seed in seeds
            },
            {
                seed: sum(w * (values[s | {i}][seed] + values[s | {j}][seed]) for w, s in weighted)
                for seed in seeds
            },
            missing,
            alpha,
        )
    return _corrected(found, alpha)


def _subsets(parts: Iterable[str]) -> list[frozenset[str]]:
    ordered = sorted(parts)
    return [frozenset(s) for size in range(len(ordered) + 1) for s in combinations(ordered, size)]


def _complete_seeds(parts: Sequence[str], values: Worth) -> tuple[list[int], int]:
    """The seeds that every subset has, and how many others there are."""
    if len(set(parts)) != len(parts) or len(parts) > MAX_COMPONENTS:
        raise ValueError(
            f"Shapley values are for up to {MAX_COMPONENTS} different parts, not {', '.join(parts)}"
        )
    subsets = _subsets(parts)
    lacking = [s for s in subsets if s not in values]
    if lacking:
        raise ValueError(f"no values with {' + '.join(sorted(lacking[0])) or 'all parts off'}")
    common = set.intersection(*(set(values[s]) for s in subsets))
    return sorted(common), len(set().union(*(values[s] for s in subsets)) - common)


def _contrast(
    plus: Mapping[int, float], minus: Mapping[int, float], missing: int, alpha: float
) -> Difference:
    return replace(paired_difference(plus, minus, "t", alpha), missing=missing)


def _corrected(found: Mapping[tuple[str, ...], Difference], alpha: float) -> list[Contribution]:
    return [Contribution(parts, d) for parts, d in with_verdicts(found, None, alpha).items()]
