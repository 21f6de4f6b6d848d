"""Group-sequential looks: values of the specification, exact probabilities, and simulations."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ibml.statistics.paired import paired_difference
from ibml.statistics.sequential import compute_boundaries, follow, nominal_levels, run_stop_tests
from tests.statistics.finite import assert_finite

Floats = npt.NDArray[np.float64]
MINIMUM, MAXIMUM, ALPHA = 3, 20, 0.05
LOOKS = range(MINIMUM, MAXIMUM + 1)


def uncorrected(minimum: int, maximum: int, alpha: float) -> Floats:
    return 2 * stats.norm.sf(
        compute_boundaries([n / maximum for n in range(minimum, maximum + 1)], alpha)
    )


def test_five_equal_looks_have_the_published_boundaries() -> None:
    # Reboussin et al. 2000, program ld98: 4.8769, 3.3569, 2.6803, 2.2898, 2.0310.
    found = compute_boundaries([0.2, 0.4, 0.6, 0.8, 1.0], 0.05)
    assert found == pytest.approx([4.8769, 3.3570, 2.6803, 2.2898, 2.0310], abs=6e-5)
    plain = dict(zip(LOOKS, uncorrected(3, 20, 0.05), strict=True))
    assert plain[5] == pytest.approx(1.4e-5, rel=0.03)
    assert [plain[10], plain[15], plain[20]] == pytest.approx(
        [0.002495, 0.014009, 0.033787], rel=2e-3
    )


@pytest.mark.parametrize(
    ("fractions", "alpha"), [([0.5, 1.0], 0.05), ([0.3, 0.55, 1.0], 0.2), ([0.9, 1.0], 0.01)]
)
def test_paths_leave_with_the_probability_that_is_spent(
    fractions: list[float], alpha: float
) -> None:
    c = np.array(compute_boundaries(fractions, alpha))
    t = np.array(fractions)
    correlation = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    inside = stats.multivariate_normal.cdf(
        c, cov=correlation, lower_limit=-c, abseps=1e-7, releps=1e-7
    )
    assert 1 - inside == pytest.approx(alpha, rel=1e-4)
    first = 2 * (2 - 2 * stats.norm.cdf(stats.norm.isf(alpha / 4) / np.sqrt(t[0])))
    assert 2 * stats.norm.sf(c[0]) == pytest.approx(first)


@pytest.mark.parametrize(
    ("maximum", "alpha", "factor"),
    [
        (10, 0.05, 0.87),
        (20, 0.05, 0.90),
        (30, 0.05, 0.92),
        (10, 0.05 / 3, 0.86),
        (20, 0.05 / 3, 0.88),
        (30, 0.05 / 3, 0.91),
    ],
)
def test_levels_are_corrected_by_the_specified_factors(
    maximum: int, alpha: float, factor: float
) -> None:
    found = np.array(list(nominal_levels(3, maximum, alpha).values())) / uncorrected(
        3, maximum, alpha
    )
    assert np.ptp(found) < 1e-12
    # The specification's factors come from 200,000 paths. Their standard error is 1 % at 0.05 and
    # 1.7 % at 0.05 / 3.
    assert found[0] == pytest.approx(factor, abs=0.01 if alpha == 0.05 else 0.03)


def test_edges_of_levels() -> None:
    assert nominal_levels(7, 7, 0.05) == {7: 0.05}
    assert nominal_levels(2, 2, 0.01) == {2: 0.01}
    assert nominal_levels(2, 100, 0.05 / 13)[2] < 1e-100
    for n in ((2, 3), (2, 4), (9, 10), (2, 20)):
        levels = nominal_levels(*n, 0.05)
        assert list(levels) == list(range(n[0], n[1] + 1))
        assert 0 < max(levels.values()) < 0.05
    with pytest.raises(ValueError, match="minimum"):
        nominal_levels(1, 5, 0.05)


def test_levels_of_two_and_three_seeds_err_at_alpha() -> None:
    levels = nominal_levels(2, 3, 0.05)
    t = looks_of(np.random.default_rng(5).standard_normal((400_000, 1, 3)), 2)[:, 0]
    passed = t >= stats.t.isf(np.array(list(levels.values())) / 2, [1, 2])
    assert passed.any(axis=1).mean() == pytest.approx(0.05, abs=0.0012)


def looks_of(d: Floats, minimum: int) -> Floats:
    """Return |t| of the first n differences, n >= minimum: (studies, arms, looks)."""
    n = np.arange(1, d.shape[2] + 1)
    mean = d.cumsum(axis=2) / n
    squares = (d**2).cumsum(axis=2) - n * mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(mean * np.sqrt(n * (n - 1) / squares))[:, :, minimum - 1 :]


def simulate(
    x: Floats, levels: dict[int, Floats]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int_]]:
    """Return which arms are decided and their seeds, for x (studies, arms, seeds)."""
    t = looks_of(x[:, 1:] - x[:, :1], MINIMUM)
    studies, arms, _ = t.shape
    quantiles = np.array(
        [[np.inf] * len(LOOKS)] + [stats.t.isf(levels[q] / 2, np.array(LOOKS) - 1) for q in levels]
    )
    undecided, stopped = np.ones((studies, arms), dtype=bool), np.full((studies, arms), MAXIMUM)
    for k, n in enumerate(LOOKS):
        while (
            passed := undecided & (t[:, :, k] >= quantiles[undecided.sum(axis=1), k][:, None])
        ).any():
            stopped[passed] = n
            undecided &= ~passed
    return ~undecided, stopped


def calibrated(arms: int) -> dict[int, Floats]:
    return {
        q: np.array(list(nominal_levels(MINIMUM, MAXIMUM, ALPHA / q).values()))
        for q in range(1, arms + 1)
    }


@pytest.mark.slow
@pytest.mark.parametrize("arms", [1, 3, 6])
def test_null_studies_err_in_at_most_five_percent_and_as_follow_does(arms: int) -> None:
    studies = 60_000
    x = np.random.default_rng(arms).standard_normal((studies, arms + 1, MAXIMUM))
    decided, stopped = simulate(x, calibrated(arms))
    error = decided.any(axis=1).mean()
    assert error <= ALPHA + np.sqrt(ALPHA * (1 - ALPHA) / studies)
    # A common reference ties the arms together, which Holm's levels do not count on.
    assert error > (0.048 if arms == 1 else 0.04)
    # Studies with a decision are rare: half of the sample is made of them.
    sample = [*range(33), *np.flatnonzero(decided.any(axis=1))[:34]]
    for study in sample:
        found = follow(by_arm(x[study]), "0", range(MAXIMUM), MINIMUM, ALPHA)
        assert {arm: d.seeds for arm, d in found.decided.items()} == {
            str(arm + 1): stopped[study, arm] for arm in range(arms) if decided[study, arm]
        }
        assert found.finished
        assert found.looks == stopped[study].max()


def by_arm(x: Floats) -> dict[str, dict[int, float | None]]:
    return {str(arm): dict(enumerate(row.tolist())) for arm, row in enumerate(x)}


def test_uncorrected_levels_err_too_often() -> None:
    x = np.random.default_rng(1).standard_normal((60_000, 2, MAXIMUM))
    decided, _ = simulate(x, {1: uncorrected(MINIMUM, MAXIMUM, ALPHA)})
    assert 0.053 < decided.mean() < 0.058


def test_runs_saved_when_three_arms_differ() -> None:
    # Three arms and the reference. All arms are shifted, in standard deviations of a single arm
    # (not of the difference). Runs are those of the three arms.
    noise = np.random.default_rng(2).standard_normal((20_000, 4, MAXIMUM))
    for shift, saved in ((1.5, 0.34), (2.0, 0.445)):
        x = noise.copy()
        x[:, 1:] += shift
        _, stopped = simulate(x, calibrated(3))
        assert 1 - stopped.mean() / MAXIMUM == pytest.approx(saved, abs=0.006)


def study(maximum: int, **shifts: float) -> dict[str, dict[int, float | None]]:
    generator = np.random.default_rng(0)
    reference = generator.normal(size=maximum)
    rows = {"ref": reference} | {
        a: reference + s + generator.normal(size=maximum) for a, s in shifts.items()
    }
    return {arm: dict(enumerate(row.tolist())) for arm, row in rows.items()}


def test_what_is_wanted_comes_look_by_look() -> None:
    full = study(8, far=6.0, near=0.0)
    nothing = {arm: {} for arm in full}
    first = follow(nothing, "ref", range(8), 3, 0.05)
    assert (first.looks, first.decided, first.finished) == (0, {}, False)
    assert first.wanted == dict.fromkeys(range(3), ("ref", "far", "near"))
    lacking = {
        arm: {s: v for s, v in by.items() if s < 3 and (arm, s) != ("near", 1)}
        for arm, by in full.items()
    }
    assert follow(lacking, "ref", range(8), 3, 0.05).wanted == {1: ("near",)}
    three = {arm: {s: by[s] for s in range(3)} for arm, by in full.items()}
    assert follow(three, "ref", range(8), 3, 0.05).wanted == {3: ("ref", "far", "near")}
    end = follow(full, "ref", range(8), 3, 0.05)
    assert (end.looks, end.wanted, end.finished) == (8, {}, True)
    assert end.decided["far"].seeds < 8
    # A decided arm is asked for nothing more.
    part = {
        "ref": full["ref"],
        "near": full["near"],
        "far": {s: full["far"][s] for s in range(end.decided["far"].seeds)},
    }
    assert follow(part, "ref", range(8), 3, 0.05) == end


def test_a_study_ends_when_all_arms_are_decided() -> None:
    full = study(20, up=9.0, down=-9.0)
    found = follow(full, "ref", range(20), 3, 0.05)
    assert set(found.decided) == {"up", "down"}
    assert found.finished
    assert found.looks == max(d.seeds for d in found.decided.values()) < 20
    for arm, decision in found.decided.items():
        first = range(decision.seeds)
        p = paired_difference(
            {s: full[arm][s] for s in first}, {s: full["ref"][s] for s in first}
        ).p
        assert decision.p == p <= decision.level


def test_a_decided_arm_hands_its_share_on_within_the_look() -> None:
    levels = {q: nominal_levels(4, 4, 0.05 / q)[4] for q in (1, 2)}
    assert levels == {1: 0.05, 2: 0.025}
    reference = dict.fromkeys(range(4), 0.0)
    strong, middle = (
        {s: m + e for s, e in enumerate((0.5, -0.5, 0.25, -0.25))} for m in (5.0, 0.8)
    )
    alone = follow(
        {"r": reference, "middle": middle, "none": dict(reference)}, "r", range(4), 4, 0.05
    )
    assert alone.decided == {}
    both = follow(
        {"r": reference, "middle": middle, "strong": strong}, "r", range(4), 4, 0.05
    ).decided
    assert (both["strong"].level, both["middle"].level) == (0.025, 0.05)
    assert 0.025 < both["middle"].p < 0.05


def test_failed_trials_delay_nothing_and_no_p_is_no_decision() -> None:
    full = study(6, a=0.0)
    full["a"] = dict.fromkeys(range(6)) | {0: 1.0}
    found = follow(full, "ref", range(6), 2, 0.05)
    assert (found.looks, found.decided, found.finished) == (6, {}, True)
    constant = {"r": {s: float(s) for s in range(4)}, "a": {s: s + 5.0 for s in range(4)}}
    assert follow(constant, "r", range(4), 2, 0.05).decided == {}
    # The reference alone: the minimum is run, there is nothing to decide.
    assert follow({"r": {}}, "r", range(9), 3, 0.05).wanted == dict.fromkeys(range(3), ("r",))
    assert follow({"r": dict.fromkeys(range(3), 1.0)}, "r", range(9), 3, 0.05).finished


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_order_of_results_changes_nothing(data: st.DataObject) -> None:
    value = st.none() | st.sampled_from([0.0, 1.0, 1.1, 30.0])
    seeds = [5, 2, 9, 0]
    entries = [
        (arm, s, data.draw(value))
        for arm, s in product("rab", seeds)
        if data.draw(st.integers(0, 9))
    ]
    found = []
    for order in (entries, data.draw(st.permutations(entries))):
        arms = {arm: {} for arm in "rab"}
        for arm, seed, v in order:
            arms[arm][seed] = v
        found.append(follow(arms, "r", seeds, 2, 0.5))
    assert found[0] == found[1]
    assert found[0].finished == (not found[0].wanted)
    assert_finite(found[0].decided)
    for arm, decision in found[0].decided.items():
        assert all((arm, s) in {(a, s) for a, s, _ in entries} for s in seeds[: decision.seeds])


def test_a_metric_that_did_not_steer_is_tested_step_down_where_each_arm_stopped() -> None:
    full, half = (nominal_levels(3, 20, 0.05 / q) for q in (1, 2))
    p_values = {"early": half[8] * 0.9, "late": (half[20] + full[20]) / 2, "none": None}
    found = run_stop_tests(p_values, {"early": 8, "late": 20, "none": 20}, 3, 20, 0.05)
    assert (found["early"].level, found["early"].rejected) == (half[8], True)
    assert (found["late"].level, found["late"].rejected) == (full[20], True)
    assert (found["none"].level, found["none"].rejected) == (None, False)
    weaker = run_stop_tests(
        p_values | {"early": half[8] * 1.01}, {"early": 8, "late": 20, "none": 20}, 3, 20, 0.05
    )
    assert {arm: test.rejected for arm, test in weaker.items()} == {
        "early": False,
        "late": False,
        "none": False,
    }
    assert weaker["late"].level == half[20]
    before_a_look = run_stop_tests({"a": 1e-9}, {"a": 2}, 3, 20, 0.05)["a"]
    assert (before_a_look.level, before_a_look.rejected) == (None, False)


def test_stopping_where_another_metric_looks_best_does_not_err_more() -> None:
    # The worst rule: stop where this very metric's p is smallest against its level.
    t = looks_of(np.random.default_rng(8).standard_normal((40_000, 1, MAXIMUM)), MINIMUM)[:, 0]
    levels = calibrated(1)[1]
    p = 2 * stats.t.sf(t, np.array(LOOKS) - 1)
    where = (p / levels).argmin(axis=1)
    rejected = p[np.arange(len(p)), where] <= levels[where]
    assert rejected.mean() <= 0.05 + 0.0011
    sample = np.flatnonzero(rejected)[:20].tolist() + list(range(20))
    for i in sample:
        look = LOOKS[where[i]]
        assert (
            run_stop_tests({"a": p[i, where[i]]}, {"a": look}, MINIMUM, MAXIMUM, ALPHA)[
                "a"
            ].rejected
            == rejected[i]
        )
