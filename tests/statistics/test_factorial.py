"""Factorial effects and shares of variance against scipy, statsmodels, and counts by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from ibml.statistics.factorial import Factors, Values, interactions, main_effects, variance_shares
from tests.statistics.finite import assert_finite

FACTORS = {
    "fusion": ["sum", "film", "gated"],
    'bio "w" ~ C(x)': ["0", "α + β:1"],
    "tcm": ["off", "on"],
}
TWO = {"a": ["0", "1"], "b": ["0", "1"]}


def design(factors: Factors, seeds: int, seed: int) -> dict[tuple[str, ...], dict[int, float]]:
    generator = np.random.default_rng(seed)
    return {
        cell: dict(enumerate(generator.normal(size=seeds))) for cell in product(*factors.values())
    }


def two_by_two(*rows: tuple[float, float, float, float]) -> Values:
    """Rows of one seed: cells 00, 01, 10, 11."""
    cells = list(product("01", "01"))
    return {cell: {seed: row[i] for seed, row in enumerate(rows)} for i, cell in enumerate(cells)}


def test_effects_by_hand() -> None:
    values = two_by_two((1, 2, 4, 9), (2, 4, 5, 9))
    a, b = main_effects(TWO, values)
    # Seed 0: a = (4 + 9 - 1 - 2) / 2 = 5, b = (2 + 9 - 1 - 4) / 2 = 3; seed 1: a = 4, b = 3.
    assert (a.factors, a.levels, a.difference.mean, b.difference.mean) == (("a",), ("1",), 4.5, 3.0)
    assert b.difference.verdict == "no spread: no claim"
    (both,) = interactions(TWO, values)
    assert (both.factors, both.levels) == (("a", "b"), ("1", "1"))
    assert both.difference.mean == ((9 - 4 - 2 + 1) + (9 - 5 - 4 + 2)) / 2


def test_effects_are_t_tests_over_seeds_with_holm() -> None:
    values = design(FACTORS, 6, 1)
    del values["film", "0", "on"][4]
    seeds = [0, 1, 2, 3, 5]
    found = main_effects(FACTORS, values)
    assert [(e.factors[0], e.levels[0]) for e in found] == [
        ("fusion", "film"),
        ("fusion", "gated"),
        ('bio "w" ~ C(x)', "α + β:1"),
        ("tcm", "on"),
    ]
    d = [
        np.mean([by[s] for cell, by in values.items() if cell[0] == "gated"])
        - np.mean([by[s] for cell, by in values.items() if cell[0] == "sum"])
        for s in seeds
    ]
    gated = found[1].difference
    assert (gated.n, gated.missing) == (5, 1)
    assert gated.p == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
    assert (gated.low, gated.high) == pytest.approx(
        tuple(stats.ttest_1samp(d, 0).confidence_interval())
    )
    smallest = min(e.difference.p for e in found)
    assert min(e.difference.p_corrected for e in found) == pytest.approx(min(1, 4 * smallest))


def test_an_effect_is_detected_and_has_no_side() -> None:
    values = {
        c: {s: v * 0.1 - (c[2] == "on") for s, v in by.items()}
        for c, by in design(FACTORS, 5, 2).items()
    }
    verdicts = {e.factors[0]: e.difference.verdict for e in main_effects(FACTORS, values)}
    assert verdicts["tcm"] == "effect detected"
    assert verdicts["fusion"] == "no effect detected"


def test_a_fraction_has_no_interactions_of_combinations_it_lacks() -> None:
    factors = {"a": ["0", "1"], "b": ["0", "1"], "c": ["0", "1"]}
    half = {c: by for c, by in design(factors, 4, 3).items() if c.count("1") % 2 == 0}
    assert len(interactions(factors, half)) == 3
    one_at_a_time = {c: by for c, by in design(factors, 4, 3).items() if c.count("1") <= 1}
    assert interactions(factors, one_at_a_time) == []
    assert len(main_effects(factors, one_at_a_time)) == 3


def test_shares_equal_statsmodels_analysis_of_variance() -> None:
    values = design(FACTORS, 4, 4)
    rows = [(*c, s, v) for c, by in values.items() for s, v in by.items()]
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "s", "y"])
    table = anova_lm(ols("y ~ C(a) * C(b) * C(c) + C(s)", frame).fit())
    found = {share.term: share for share in variance_shares(FACTORS, values)}
    a, b, c = FACTORS
    names = {
        (a,): "C(a)",
        (b,): "C(b)",
        (c,): "C(c)",
        (a, b): "C(a):C(b)",
        (a, c): "C(a):C(c)",
        (b, c): "C(b):C(c)",
        "higher order": "C(a):C(b):C(c)",
        "seed": "C(s)",
    }
    total = table["sum_sq"].sum()
    assert set(found) == {*names, "residual"}
    for term, name in names.items():
        row = table.loc[name]
        assert (found[term].share, found[term].f, found[term].p) == pytest.approx(
            (row["sum_sq"] / total, row["F"], row["PR(>F)"])
        )
    assert found["residual"].share == pytest.approx(table.loc["Residual", "sum_sq"] / total)
    assert sum(share.share for share in found.values()) == pytest.approx(1)


def test_shares_of_a_fraction_are_of_main_effects() -> None:
    factors = {"a": ["0", "1"], "b": ["0", "1"], "c": ["0", "1"]}
    part = {c: by for c, by in design(factors, 3, 5).items() if c != ("1", "1", "1")}
    found = variance_shares(factors, part)
    assert [share.term for share in found] == [
        ("a",),
        ("b",),
        ("c",),
        "higher order",
        "seed",
        "residual",
    ]
    assert sum(share.share for share in found) == pytest.approx(1)
    rows = [(*c, s, v) for c, by in part.items() for s, v in by.items()]
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "s", "y"])
    table = anova_lm(ols("y ~ a + b + c + C(s)", frame).fit())
    assert [s.share for s in found[:3]] == pytest.approx(
        list(table["sum_sq"][:3] / table["sum_sq"].sum())
    )


def test_shares_say_none_where_there_is_nothing_to_say() -> None:
    constant = variance_shares(TWO, two_by_two((0.3, 0.1 + 0.2, 0.3, 0.3), (0.3, 0.3, 0.3, 0.3)))
    assert {(s.share, s.f, s.p) for s in constant} == {(None, None, None)}
    one = {s.term: s for s in variance_shares(TWO, two_by_two((1, 2, 4, 5)))}
    # a: 3 * 3, b: 1 * 1, no interaction: 0.9 and 0.1 of the sum of squares.
    assert (one["a",].share, one["b",].share, one["a",].p) == (
        pytest.approx(0.9),
        pytest.approx(0.1),
        None,
    )
    exact = variance_shares(TWO, two_by_two((1, 2, 4, 5), (2, 3, 5, 6)))
    assert all(share.p is None for share in exact)
    assert variance_shares(TWO, {c: {} for c in product("01", "01")})[0].share is None
    assert variance_shares(TWO, {})[0].share is None


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_never_not_a_number_with_any_names(data: st.DataObject) -> None:
    text = st.text(min_size=1, max_size=4)
    names = data.draw(st.lists(text, min_size=2, max_size=3, unique=True))
    factors = {
        name: data.draw(st.lists(text, min_size=2, max_size=3, unique=True)) for name in names
    }
    cells = data.draw(
        st.lists(st.sampled_from(list(product(*factors.values()))), min_size=1, unique=True)
    )
    value = st.sampled_from([0.0, 0.1, 0.2, 0.3, -1e9])
    seeds = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True))
    values = {cell: {seed: data.draw(value) for seed in seeds} for cell in cells}
    shares = variance_shares(factors, values)
    assert_finite([*main_effects(factors, values), *interactions(factors, values), *shares])
    assert all(share.share is None for share in shares) or sum(
        s.share for s in shares
    ) == pytest.approx(1)
