"""Weights of exact Shapley values over all subsets of a few players (Shapley, 1953)."""

from __future__ import annotations

from math import factorial


def shapley_weights(players: int) -> list[list[float]]:
    """Return the matrix A, shape (M, 2^M), that maps a game v to its Shapley values phi = A v.

    phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)).

    The value v(S) is at the index whose bit m is set if and only if player m is in S.
    `enumerate_subsets` returns the subsets in this order. Every row sums to 0, and the Shapley
    values of a game sum to v(all) - v(none).

    Args:
        players: Number of players M.

    Returns:
        One row of 2^M weights per player.
    """
    rows = []
    for player in range(players):
        row = []
        for subset in range(2**players):
            inside = bool(subset >> player & 1)
            others = subset.bit_count() - inside
            weight = factorial(others) * factorial(players - others - 1) / factorial(players)
            row.append(weight if inside else -weight)
        rows.append(row)
    return rows


def enumerate_subsets(players: int) -> list[list[bool]]:
    """Return the membership matrix of all subsets, shape (2^M, M).

    Args:
        players: Number of players M.

    Returns:
        One row per subset, in the order of the columns of `shapley_weights`; entry m is True if
        player m is in the subset.
    """
    rows = []
    for subset in range(2**players):
        rows.append([bool(subset >> player & 1) for player in range(players)])
    return rows
