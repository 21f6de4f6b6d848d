"""Queries of results: required seeds, comparisons, lists, single trials."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from ibml.common.errors import IbmlError
from ibml.records import TrialRecord
from ibml.report.tables.results import Results
from ibml.report.tables.table_spec import TableSpec
from ibml.report.views.comparison import ComparisonSide, compare
from ibml.report.views.overview import build_overview_table, format_duration
from ibml.report.views.sample_size import build_power_table, describe_power, plan_seeds
from ibml.report.views.trial import TrialView, build_trial_group, draw_sparkline
from tests.support.records import results, study

ARMS = {"ref": [0.90, 0.91, 0.92], "good": [0.95, 0.955, 0.97], "same": [0.90, 0.905, 0.93]}


def side(
    name: str, arms: dict[str, list[float | None]], arm: str | None = None, **more: object
) -> ComparisonSide:
    record = study(arms, name=name, **more)
    return ComparisonSide(
        name if arm is None else f"{name}/{arm}", Results(record, results(record, arms)), arm
    )


def texts(grid: TableSpec) -> list[list[str]]:
    return [[entry.text for entry in row] for row in grid.entries]


def test_the_seeds_that_are_needed_follow_from_the_variance_seen() -> None:
    plan = plan_seeds(side("x", ARMS).results, 1.0, None, 0.8)
    good, same = plan.sample_sizes
    # differences of good: 5, 4.5, 5 -> sd 0.2887; of same: 0, -0.5, 1 -> sd 0.7638
    assert good.sd == pytest.approx(0.288675, abs=1e-6)
    assert same.sd == pytest.approx(0.763763, abs=1e-6)
    assert (good.uncorrected, same.uncorrected) == (3, 7)  # statsmodels' TTestPower, rounded up
    assert same.corrected > same.uncorrected
    assert same.conservative > same.corrected
    assert plan.seeds == same.corrected
    grid = build_power_table(plan)
    assert grid.title == "x: seeds to detect a difference of 1 points in test.accuracy"
    words = " ".join(describe_power(plan))
    assert f"{3 * plan.seeds} trials" in words
    assert f"--seeds {plan.seeds}" in words


def test_what_no_study_can_detect_is_said() -> None:
    plan = plan_seeds(side("x", ARMS).results, 1e-4, None, 0.8)
    assert plan.seeds is None
    assert "More than 10,000 seeds would be needed" in " ".join(describe_power(plan))
    assert build_power_table(plan).entries[0][-1].text == "> 10,000"


def test_a_signed_rank_test_needs_enough_seeds_to_reach_alpha() -> None:
    plan = plan_seeds(side("x", ARMS, table={"test": "wilcoxon"}).results, 50.0, None, 0.8)
    assert [size.corrected for size in plan.sample_sizes] == [7, 7], (
        "2^(1 - 7) = 0.016 is the first below 0.025"
    )


@pytest.mark.parametrize("detect", [0.0, -1.0, math.nan, math.inf])
def test_a_difference_to_detect_is_above_zero(detect: float) -> None:
    with pytest.raises(IbmlError, match="above 0"):
        plan_seeds(side("x", ARMS).results, detect, None, 0.8)


def test_without_pairs_nothing_can_be_planned() -> None:
    arms = {"ref": [0.9, None], "good": [0.95, 0.96]}
    with pytest.raises(IbmlError, match="--seeds 3"):
        plan_seeds(side("x", arms).results, 1.0, None, 0.8)
    with pytest.raises(IbmlError, match=r"no metric 'test.gao'; did you mean 'test.gap'"):
        plan_seeds(side("x", ARMS).results, 1.0, "test.gao", 0.8)


def test_two_arms_are_compared_in_configuration_and_results() -> None:
    more = {
        "configs": {"d": {"a.b": 1, "c": 2}},
        "changes": {"d": {"good": {"a.b": 5, "new": True}, "same": {}}},
    }
    configs, found = compare(side("x", ARMS, "ref", **more), side("x", ARMS, "good", **more))
    assert texts(configs) == [["a.b", "1", "5"], ["new", "–", "True"]]
    accuracy, gap = texts(found)
    assert accuracy[0] == "test.accuracy %"
    assert accuracy[3:5] == ["3", "+4.83"]
    assert (accuracy[-1], gap[-1]) == ("better", "better")


def test_two_studies_are_compared_arm_by_arm() -> None:
    other = {"ref": [0.90, 0.91, 0.92], "good": [0.80, 0.81, 0.83], "new": [0.9, 0.9, 0.9]}
    grids = compare(side("x", ARMS), side("y", other, table={"alpha": 0.01}))
    assert [grid.title.split()[0] for grid in grids] == ["settings", "results"]
    settings = {row[0]: row[1:] for row in texts(grids[0])}
    assert settings["arms"] == ["ref, good, same", "ref, good, new"]
    assert settings["test"] == ["t, alpha 0.05", "t, alpha 0.01"]
    headings = [row for row in grids[1].rows if isinstance(row, str)]
    assert headings[:2] == ["d · ref", "d · good"]


def test_pairs_of_one_trial_with_itself_are_no_test() -> None:
    more = {
        arm: [*values, 0.5] for arm, values in ARMS.items()
    }  # a seed more, and the same trials before it
    (settings, found) = compare(side("x", ARMS), side("y", more))
    assert {row[0] for row in texts(settings)} == {"study", "seeds", "results"}
    assert {(row[3], row[4], row[-1]) for row in texts(found)} == {
        ("3", "+0.00", "the same trials")
    }


def test_a_study_is_not_compared_with_an_arm() -> None:
    with pytest.raises(IbmlError, match="two studies, or two arms"):
        compare(side("x", ARMS), side("x", ARMS, "good"))


def test_the_list_shows_state_progress_and_age() -> None:
    record = study(ARMS)
    found = results(record, ARMS)
    del found["d/same/2"]
    grid = build_overview_table(
        [
            ("study", "demo", "KILLED", 1_000_000, 2_000_000, record),
            ("study", "late", "RUNNING", 3_000_000, 0, record),
            ("search", "old", "FINISHED", 1000, 2000, None),
        ],
        found,
        now=9200,
    )
    assert [row[:5] for row in texts(grid)] == [
        ["late", "study", "running", "8 / 9", "2 h"],
        ["demo", "study", "interrupted", "8 / 9", "2 h"],
        ["old", "search", "complete", "–", "3 h"],
    ]
    assert [format_duration(s) for s in (-3, 59, 60, 3600, 200_000)] == [
        "0 s",
        "59 s",
        "1 min",
        "1 h",
        "2 d",
    ]


def test_a_trial_is_shown_with_curves_and_traceback() -> None:
    record = TrialRecord(
        "k" * 64, "r" * 32, "failed", {"val.loss": 1.0, "test.loss": 2.5},
        "RuntimeError('x')", "data", "rev", "cpu", {"demo": "good"}, 5000, 1000, "good", "d", 3,
    )  # fmt: skip
    view = TrialView(
        record, "seed: 3\n", {"val.loss": [3.0, math.nan, 1.0]}, "Traceback: x", ["config.yaml"]
    )
    stream = io.StringIO()
    Console(file=stream, width=120).print(build_trial_group(view))
    shown = stream.getvalue()
    for part in (
        "d · good · seed 3",
        "failed: RuntimeError('x')",
        "█ ▁",
        "test.loss",
        "2.5",
        "Traceback: x",
        "config.yaml",
    ):
        assert part in shown
    assert "part of demo (as good)" in shown


def test_a_curve_is_a_line_of_bars() -> None:
    assert draw_sparkline([0, 1, 2, 7]) == "▁▂▃█"
    assert draw_sparkline([5.0]) == "▁"
    assert draw_sparkline([math.nan, 1.0, 1.0]) == " ▁▁"
    assert len(draw_sparkline(range(1000))) == 40
    assert draw_sparkline([]) == ""
