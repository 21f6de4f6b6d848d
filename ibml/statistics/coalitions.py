"""Exact Shapley values over the subsets of a few players (Shapley 1953)."""

from __future__ import annotations

from math import factorial


def shapley_weights(players: int) -> list[list[float]]:
    """The matrix A, (M, 2^M), with phi = A v: v(S) stands at the position whose bit m says whether m is in S.

    phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)). Rows sum to 0, and the phi of a game to
    v(all) - v(none).
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


def members(players: int) -> list[list[bool]]:
    """Who is in each subset, in the order of the columns of `shapley_weights`: (2^M, M)."""
    return [
        [bool(subset >> player & 1) for player in range(players)] for subset in range(2**players)
    ]
