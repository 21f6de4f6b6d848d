"""Several data sets, against scipy, scikit-posthocs, counting all groups, and Demsar's example."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scikit_posthocs import posthoc_wilcoxon
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ibml.statistics.datasets import (
    average_ranks,
    estimate_improvement,
    find_nonsignificant_groups,
    signed_rank_over_datasets,
)
from tests.statistics.finite import assert_finite


def by_name(values: list[float]) -> dict[str, float]:
    return {f"d{i}": float(v) for i, v in enumerate(values)}


def random_means(
    arms: int, datasets: int, seed: int, step: float = 0.5
) -> dict[str, dict[str, float]]:
    generator = np.random.default_rng(seed)
    return {f"arm{i}": by_name(generator.normal(i * step, 1, datasets)) for i in range(arms)}


# Demsar 2006, table 2: C4.5 and C4.5+m over 14 data sets; signed ranks 93 and 12.
C45 = [
    0.763,
    0.599,
    0.954,
    0.628,
    0.882,
    0.936,
    0.661,
    0.583,
    0.775,
    1.000,
    0.940,
    0.619,
    0.972,
    0.957,
]
C45_M = [
    0.768,
    0.591,
    0.971,
    0.661,
    0.888,
    0.931,
    0.668,
    0.583,
    0.838,
    1.000,
    0.962,
    0.666,
    0.981,
    0.978,
]


def test_ranks_by_hand_with_ties_and_a_missing_mean() -> None:
    means = {
        "a": {"x": 3.0, "y": 0.1 + 0.2, "z": 1.0, "only": 9.0},
        "b": {"x": 2.0, "y": 0.3, "z": 2.0},
        "c": {"x": 1.0, "y": 0.1, "z": 3.0, "only": 1.0},
    }
    found = average_ranks(means, higher_is_better=True)
    assert found.ranks == pytest.approx(
        {"a": (1 + 1.5 + 3) / 3, "b": (2 + 1.5 + 2) / 3, "c": (3 + 3 + 1) / 3}
    )
    assert (found.datasets, found.missing) == (3, 1)
    lower = average_ranks(means, higher_is_better=False).ranks
    assert lower == pytest.approx({arm: 4 - rank for arm, rank in found.ranks.items()})


def test_signed_ranks_of_demsars_table() -> None:
    found = signed_rank_over_datasets(
        {"C4.5": by_name(C45), "C4.5+m": by_name(C45_M)}, "C4.5", True
    )["C4.5+m"]
    gaps = np.round(np.array(C45_M) - C45, 6)
    assert found.n == 14
    assert found.p == pytest.approx(stats.wilcoxon(gaps, method="exact").pvalue, abs=0.003)
    assert found.verdict == "helps"


def test_signed_ranks_equal_scipys_and_statsmodels() -> None:
    means = random_means(4, 9, 1)
    found = signed_rank_over_datasets(means, "arm0", True)
    gaps = {
        arm: [v - means["arm0"][d] for d, v in by.items()]
        for arm, by in means.items()
        if arm != "arm0"
    }
    p_values = [stats.wilcoxon(g).pvalue for g in gaps.values()]
    assert [d.p for d in found.values()] == pytest.approx(p_values)
    assert [d.p_corrected for d in found.values()] == pytest.approx(
        list(multipletests(p_values, method="holm")[1])
    )


def test_five_data_sets_are_too_few_and_six_are_not() -> None:
    better = by_name([1.0, 1.1, 1.2, 1.3, 1.4, 1.6])
    reference = by_name([0.0] * 6)
    six = signed_rank_over_datasets({"a": better, "r": reference}, "r", True)["a"]
    assert (six.n, six.p, six.verdict) == (6, pytest.approx(2 / 64), "helps")
    del better["d0"]
    five = signed_rank_over_datasets({"a": better, "r": reference}, "r", True)["a"]
    assert (five.n, five.missing, five.p, five.p_corrected) == (5, 1, None, None)
    assert five.verdict == "too few data sets"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_probability_of_improvement_equals_mann_whitneys_u(data: st.DataObject) -> None:
    runs = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=5)
    names = data.draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
    arm, reference = ({name: data.draw(runs) for name in names} for _ in range(2))
    found = estimate_improvement(arm, reference, higher_is_better=True, resamples=200)
    expected = [
        stats.mannwhitneyu(arm[n], reference[n], method="asymptotic").statistic
        / (len(arm[n]) * len(reference[n]))
        for n in names
    ]
    assert found.probability == pytest.approx(np.mean(expected))
    assert found.datasets == len(names)
    assert_finite(found)
    single = any(min(len(arm[n]), len(reference[n])) == 1 for n in names)
    assert (found.low is None) == single
    worse = estimate_improvement(arm, reference, higher_is_better=False, resamples=200)
    assert worse.probability == pytest.approx(1 - found.probability)


def test_improvements_interval_is_the_bootstraps() -> None:
    generator = np.random.default_rng(3)
    arm, reference = ({n: list(generator.normal(s, 1, 7)) for n in "abc"} for s in (0.6, 0.0))
    found = estimate_improvement(arm, reference, True, alpha=0.1, resamples=20_000)
    drawn = []
    for _ in range(4000):
        x, y = ({n: generator.choice(runs[n], 7) for n in "abc"} for runs in (arm, reference))
        wins = [np.sign(x[n][:, None] - y[n]) / 2 + 0.5 for n in "abc"]
        drawn.append(np.mean(wins))
    # A resampled quantile of 4000 draws has a standard error of about 0.003.
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(drawn, [0.05, 0.95])), abs=0.012
    )
    assert found == estimate_improvement(arm, reference, True, alpha=0.1, resamples=20_000)


def test_improvement_without_a_common_data_set_says_nothing() -> None:
    assert estimate_improvement({"a": [1.0]}, {"b": [1.0]}, True).probability is None


@pytest.mark.parametrize(
    ("arms", "datasets", "seed"), [(3, 10, 0), (5, 12, 1), (6, 20, 2), (4, 5, 3)]
)
def test_groups_are_the_maximal_ones_of_scikit_posthocs_p_values(
    arms: int, datasets: int, seed: int
) -> None:
    means = random_means(arms, datasets, seed)
    p = posthoc_wilcoxon(
        np.array([list(by.values()) for by in means.values()]), p_adjust="holm"
    ).to_numpy()
    together = [
        set(group)
        for size in range(2, arms + 1)
        for group in combinations(range(arms), size)
        if all(p[i, j] >= 0.05 for i, j in combinations(group, 2))
    ]
    maximal = [{f"arm{i}" for i in g} for g in together if not any(g < other for other in together)]
    found = find_nonsignificant_groups(means, higher_is_better=True)
    assert len(found) == len(maximal)
    assert all(set(group) in maximal for group in found)
    ranks = average_ranks(means, True).ranks
    assert all(
        [ranks[arm] for arm in group] == sorted(ranks[arm] for arm in group) for group in found
    )


def test_equal_arms_are_a_group_beside_one_that_differs() -> None:
    base = by_name(list(np.random.default_rng(0).normal(size=20)))
    means = {
        "a": base,
        "b": dict(base),
        "c": {d: v + 1 + i / 50 for i, (d, v) in enumerate(base.items())},
    }
    assert find_nonsignificant_groups(means, higher_is_better=True) == [("a", "b")]
    assert (
        find_nonsignificant_groups({}, True) == find_nonsignificant_groups({"a": base}, True) == []
    )


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_never_not_a_number(data: st.DataObject) -> None:
    cell = st.dictionaries(
        st.sampled_from("abcdefgh"), st.sampled_from([0.0, 0.1, 0.2, 0.3, -1.0]), max_size=8
    )
    means = {arm: data.draw(cell) for arm in "rst"}
    assert_finite(average_ranks(means, True))
    assert_finite(signed_rank_over_datasets(means, "r", True))
    assert all(len(group) >= 2 for group in find_nonsignificant_groups(means, False))
