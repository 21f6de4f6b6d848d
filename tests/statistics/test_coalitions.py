"""Shapley weights against all orders of the players."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from ibml.statistics.coalitions import enumerate_subsets, shapley_weights


def position(members_of: set[int]) -> int:
    return sum(2**player for player in members_of)


@pytest.mark.parametrize("players", [1, 2, 3, 4])
def test_values_are_the_means_over_all_orders(players: int) -> None:
    game = np.random.default_rng(players).normal(size=2**players)
    orders = list(permutations(range(players)))
    expected = np.zeros(players)
    for order in orders:
        for place, player in enumerate(order):
            before = set(order[:place])
            expected[player] += (game[position(before | {player})] - game[position(before)]) / len(
                orders
            )
    np.testing.assert_allclose(np.array(shapley_weights(players)) @ game, expected, atol=1e-14)


@pytest.mark.parametrize("players", [1, 2, 3, 4, 8])
def test_they_sum_to_all_minus_none_and_are_nothing_for_a_constant_game(players: int) -> None:
    matrix = np.array(shapley_weights(players))
    assert matrix.shape == (players, 2**players)
    ends = np.zeros(2**players)
    ends[[0, -1]] = -1, 1
    np.testing.assert_allclose(matrix.sum(0), ends, atol=1e-14)
    np.testing.assert_allclose(matrix.sum(1), 0, atol=1e-14)
    # alike players are worth the same: each row is another's with the players changed over
    assert len({tuple(np.sort(row).round(12)) for row in matrix}) == 1


def test_two_players_by_hand() -> None:
    assert shapley_weights(2) == [[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]]


def test_rows_say_who_is_in_each_subset() -> None:
    assert enumerate_subsets(2) == [[False, False], [True, False], [False, True], [True, True]]
    for players in (3, 4):
        rows = enumerate_subsets(players)
        assert len({tuple(row) for row in rows}) == len(rows) == 2**players
        for place, row in enumerate(rows):
            assert place == position({player for player, inside in enumerate(row) if inside})
