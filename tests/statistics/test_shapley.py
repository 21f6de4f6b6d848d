"""Shapley values against all orders of the parts, the axioms, and counting by hand."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ibml.statistics.shapley import Worth, shapley, shapley_interactions
from tests.statistics.finite import assert_finite


def subsets(parts: str) -> list[frozenset[str]]:
    return [frozenset(s) for size in range(len(parts) + 1) for s in combinations(parts, size)]


def random_worth(parts: str, seeds: int, seed: int) -> dict[frozenset[str], dict[int, float]]:
    generator = np.random.default_rng(seed)
    return {s: dict(enumerate(generator.normal(size=seeds))) for s in subsets(parts)}


def means(worth: Worth, parts: str) -> dict[str, float]:
    return {c.parts[0]: c.difference.mean for c in shapley(parts, worth)}


def test_two_parts_by_hand() -> None:
    none, a, b, both = (frozenset(s) for s in ("", "a", "b", "ab"))
    worth = {none: {0: 10.0}, a: {0: 14.0}, b: {0: 11.0}, both: {0: 21.0}}
    # a: (14 - 10 + 21 - 11) / 2 = 7; b: (11 - 10 + 21 - 14) / 2 = 4; together 11;
    # interaction 21 - 14 - 11 + 10.
    assert means(worth, "ab") == {"a": 7.0, "b": 4.0}
    (interaction,) = shapley_interactions("ab", worth)
    assert (interaction.parts, interaction.difference.mean) == (("a", "b"), 6.0)
    assert interaction.difference.verdict == "one seed: no claim"


@pytest.mark.parametrize("parts", ["a", "abc", "abcde"])
def test_values_are_the_means_over_all_orders(parts: str) -> None:
    worth = random_worth(parts, 1, len(parts))
    gains = {part: [] for part in parts}
    for order in permutations(parts):
        for place, part in enumerate(order):
            before = frozenset(order[:place])
            gains[part].append(worth[before | {part}][0] - worth[before][0])
    assert means(worth, parts) == pytest.approx({part: np.mean(g) for part, g in gains.items()})


@pytest.mark.parametrize("parts", ["abc", "abcd"])
def test_interactions_are_shapley_values_of_a_part_with_and_without_the_other(parts: str) -> None:
    # Grabisch & Roubens 1999, recursion:
    # I_ij = phi_ij(merged) - phi_i(without j) - phi_j(without i).
    worth = random_worth(parts, 1, 7)
    for found in shapley_interactions(parts, worth):
        i, j = found.parts
        merged = {
            s: worth[frozenset("".join(s))]
            for s in subsets_of([i + j, *sorted(set(parts) - {i, j})])
        }
        together = {
            c.parts[0]: c.difference.mean
            for c in shapley([i + j, *sorted(set(parts) - {i, j})], merged)
        }
        alone = [means(worth, parts.replace(other, ""))[part] for part, other in ((i, j), (j, i))]
        assert found.difference.mean == pytest.approx(together[i + j] - sum(alone))


def subsets_of(parts: list[str]) -> list[frozenset[str]]:
    return [frozenset(s) for size in range(len(parts) + 1) for s in combinations(parts, size)]


def test_they_sum_per_seed_to_all_minus_none() -> None:
    worth = random_worth("abcd", 6, 3)
    for seed in range(6):
        one = {s: {seed: by_seed[seed]} for s, by_seed in worth.items()}
        expected = worth[frozenset("abcd")][seed] - worth[frozenset()][seed]
        assert sum(means(one, "abcd").values()) == pytest.approx(expected)


def test_a_dummy_part_is_worth_what_it_adds_alone_and_interacts_with_nothing() -> None:
    worth = random_worth("ab", 5, 4)
    worth |= {
        s | {"d"}: {seed: v + 0.25 for seed, v in by_seed.items()} for s, by_seed in worth.items()
    }
    assert means(worth, "abd")["d"] == pytest.approx(0.25)
    by_pair = {c.parts: c.difference for c in shapley_interactions("abd", worth)}
    assert by_pair["a", "d"].mean == by_pair["b", "d"].mean == 0.0
    assert abs(by_pair["a", "b"].mean) > 0.1


def test_intervals_are_over_seeds_and_incomplete_seeds_are_counted() -> None:
    worth = random_worth("ab", 8, 5)
    del worth[frozenset("a")][3]
    a, b = shapley("ab", worth)
    phi = [
        sum(worth[frozenset(s + "a")][i] - worth[frozenset(s)][i] for s in ("", "b")) / 2
        for i in range(8)
        if i != 3
    ]
    expected = stats.ttest_1samp(phi, 0.0)
    assert (a.difference.n, a.difference.missing) == (7, 1)
    assert a.difference.p == pytest.approx(expected.pvalue)
    assert (a.difference.low, a.difference.high) == pytest.approx(
        tuple(expected.confidence_interval())
    )
    first, second = sorted([a.difference, b.difference], key=lambda d: d.p)
    assert first.p_corrected == pytest.approx(min(1, 2 * first.p))
    assert second.p_corrected == pytest.approx(max(second.p, first.p_corrected))


def test_six_parts_and_a_missing_cell_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 5"):
        shapley("abcdef", random_worth("abcdef", 1, 0))
    worth = random_worth("ab", 2, 0)
    del worth[frozenset("ab")]
    with pytest.raises(ValueError, match="no values with a \\+ b"):
        shapley("ab", worth)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_never_not_a_number(data: st.DataObject) -> None:
    value = st.integers(-2, 2).map(float)
    worth = {
        s: data.draw(st.dictionaries(st.integers(0, 3), value, max_size=4)) for s in subsets("abc")
    }
    for found in [*shapley("abc", worth), *shapley_interactions("abc", worth)]:
        assert_finite(found)
