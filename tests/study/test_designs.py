"""Designs: the arms of a file, and invalid designs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations, product
from math import prod
from pathlib import Path
from typing import Any

import pytest

from ibml.common.errors import ConfigError
from ibml.queries import find_study_record
from ibml.study.planning.fractions import describe_aliases, find_fraction
from ibml.study.planning.plan import Plan, load_plan
from ibml.study.planning.record import study_record
from ibml.study.planning.trials import build_trials
from ibml.tracking.store.mlflow_store import MlflowStore

OFF = {"BIO": {"method.bio.weight": 0}, "TCM": {"method.tcm.rate": 0}}
THREE = {**OFF, "decay": {"optimizer.weight_decay": 0.0}}


def plan_of(design: Mapping[str, Any], **study: Any) -> Plan:
    return load_plan({"name": "x", "base": "mfeat", "design": design, "seeds": 2, **study})


def problems(design: Mapping[str, Any], **study: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        plan_of(design, **study)
    return [str(problem) for problem in caught.value.problems]


def weights(plan: Plan) -> dict[str, tuple[float, float]]:
    return {c.arm: (c.config.method.bio.weight, c.config.method.tcm.rate) for c in plan.cells}


def test_leave_one_out_takes_each_part_out_of_the_whole() -> None:
    plan = plan_of({"type": "leave_one_out", "components": OFF})
    assert plan.reference == "full"
    assert weights(plan) == {"full": (1, 1), "w/o BIO": (0, 1), "w/o TCM": (1, 0)}


def test_leave_one_out_takes_pairs_out_where_asked() -> None:
    plan = plan_of({"type": "leave_one_out", "components": THREE, "pairs": True})
    assert plan.arms == [
        "full",
        "w/o BIO",
        "w/o TCM",
        "w/o decay",
        "w/o BIO, TCM",
        "w/o BIO, decay",
        "w/o TCM, decay",
    ]


def test_cumulative_adds_parts_in_the_order_of_the_file() -> None:
    plan = plan_of({"type": "cumulative", "components": dict(reversed(OFF.items()))})
    assert plan.reference == "none"
    assert weights(plan) == {"none": (0, 0), "+ TCM": (0, 1), "+ TCM + BIO": (1, 1)}


def test_every_order_of_parts_is_every_subset() -> None:
    plan = plan_of({"type": "cumulative", "components": THREE, "orders": "all"})
    assert len(plan.arms) == 8
    record = study_record(plan, build_trials(plan))
    subsets = {
        frozenset(n for n, level in of.items() if level == "on")
        for of in record.design.levels.values()
    }
    assert subsets == {frozenset(s) for size in range(4) for s in combinations(THREE, size)}


def test_a_factorial_crosses_paths_named_levels_and_components_with_data_sets() -> None:
    design = {
        "type": "factorial",
        "factors": {
            "fusion.type": ["concat", "sum", "film"],
            "size": {"small": {"trainer.batch_size": 32}, "large": {"trainer.batch_size": 64}},
        },
        "components": {"BIO": OFF["BIO"]},
    }
    plan = plan_of(
        design, datasets={"a": {"data.views": ["pix", "zer"]}, "b": {"data.views": ["fou", "mor"]}}
    )
    assert len(plan.cells) == 2 * 3 * 2 * 2
    assert plan.reference == "fusion.type=concat, size=small"
    cell = next(
        c for c in plan.cells if c.arm == "fusion.type=film, size=large + BIO" and c.dataset == "b"
    )
    config = cell.config
    assert (config.fusion.type, config.trainer.batch_size, config.method.bio.weight) == (
        "film",
        64,
        1,
    )
    record = study_record(plan, build_trials(plan))
    assert record.design.factors["BIO"] == ("off", "on")
    assert record.design.components == ("BIO",)
    assert record.columns["BIO"][cell.arm] is True
    assert record.columns["fusion.type"][cell.arm] == "film"


def test_the_reference_of_a_factorial_may_be_named() -> None:
    design = {"type": "factorial", "components": OFF, "reference": "+ BIO + TCM"}
    assert plan_of(design).reference == "+ BIO + TCM"
    assert (
        "'+ BIO + TMC' is not an arm; did you mean '+ BIO + TCM'?"
        in problems({**design, "reference": "+ BIO + TMC"})[0]
    )


def test_check_marks_are_read_from_paths() -> None:
    design = {
        "type": "arms",
        "reference": "a",
        "arms": {"a": {"fusion.type": "sum"}, "b": OFF["BIO"]},
    }
    components = {"BIO": "method.bio.weight", "fusion": "fusion.type"}
    plan = plan_of(design, table={"components": components})
    record = study_record(plan, build_trials(plan))
    assert record.columns == {"BIO": {"a": True, "b": False}, "fusion": {"a": "sum", "b": "concat"}}


@pytest.mark.parametrize(
    ("factors", "resolution", "cells"),
    # The smallest regular fractions of Box, Hunter & Hunter, Statistics for Experimenters,
    # table 6.22.
    [
        (3, 3, 4),
        (4, 4, 8),
        (5, 3, 8),
        (5, 5, 16),
        (6, 3, 8),
        (6, 4, 16),
        (7, 3, 8),
        (7, 4, 16),
        (8, 4, 16),
        (8, 5, 64),
    ],
)
def test_fractions_are_as_small_as_the_tables_say(
    factors: int, resolution: int, cells: int
) -> None:
    found = find_fraction(factors, resolution)
    assert found is not None
    rows, words = found
    assert len(rows) == len(set(rows)) == cells
    assert rows[0] == (0,) * factors
    assert min(word.bit_count() for word in words) >= resolution
    # A design of resolution R is balanced in any R - 1 columns.
    for size in range(1, resolution):
        for columns in combinations(range(factors), size):
            counts = [
                sum(tuple(row[c] for c in columns) == levels for row in rows)
                for levels in product((0, 1), repeat=size)
            ]
            assert len(set(counts)) == 1


@pytest.mark.parametrize(("factors", "resolution"), [(2, 3), (3, 4), (4, 5)])
def test_where_no_fraction_is_smaller_there_is_none(factors: int, resolution: int) -> None:
    assert find_fraction(factors, resolution) is None


def test_a_fraction_names_the_effects_that_it_mixes_up() -> None:
    found = find_fraction(3, 3)
    assert found is not None
    assert describe_aliases(["A", "B", "C"], found[1]) == ["A = B × C", "B = A × C", "C = A × B"]
    design = {"type": "factorial", "components": THREE, "resolution": 3}
    plan = plan_of(design)
    assert len(plan.arms) == 4
    assert plan.notes == [
        "a fraction of 4 of 8 cells, resolution 3; aliased effects: BIO = TCM × decay;"
        " TCM = BIO × decay; decay = BIO × TCM"
    ]
    whole = plan_of({**design, "resolution": 4})
    assert len(whole.arms) == prod([2, 2, 2])
    assert whole.notes == ["no fraction of resolution 4 is smaller than the whole design"]


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ({"type": "leave_one_out", "components": {}}, "design.components: is too short"),
        (
            {"type": "leave_one_out", "components": {"BIO": {}}},
            "design.components.BIO: is too short",
        ),
        (
            {"type": "leave_one_out", "components": {"BIO": {"method.bio.wieght": 0}}},
            "did you mean 'method.bio.weight'",
        ),
        (
            {"type": "leave_one_out", "components": {"BIO": {"method.bio.weight": 1}}},
            "same configuration as arm 'full'",
        ),
        (
            {"type": "cumulative", "components": OFF, "orders": "some"},
            "design.orders: 'some' is not known",
        ),
        (
            {
                "type": "cumulative",
                "orders": "all",
                "components": {f"p{i}": {"trainer.threads": i} for i in range(6)},
            },
            "every order of 6 components has 64 arms",
        ),
        (
            {"type": "factorial", "components": {"BIO": OFF["BIO"]}},
            "a factorial needs two or more factors",
        ),
        (
            {"type": "factorial", "factors": {"fusion.type": ["sum"]}, "components": OFF},
            "is too short",
        ),
        (
            {
                "type": "factorial",
                "factors": {"fusion.type": ["sum", "film", "concat"]},
                "components": OFF,
                "resolution": 3,
            },
            "a fraction has factors of two levels; 'fusion.type' has 3",
        ),
        (
            {"type": "factorial", "factors": {f"x{i}": list(range(9)) for i in range(4)}},
            "6,561 combinations; at most 1,024 can be run",
        ),
        (
            {"type": "factorial", "factors": {"BIO": ["a", "b"]}, "components": OFF},
            "'BIO' is the name of a factor too",
        ),
        (
            {"type": "factorial", "factors": {"fusion.type": ["sum", "sum"]}, "components": OFF},
            "two levels of 'fusion.type' both look like 'sum'",
        ),
        (
            {"type": "factorial", "factors": {"method.bio.weight": [1, 2]}, "components": OFF},
            "'method.bio.weight' is given twice",
        ),
        ({"type": "factorials", "components": OFF}, "did you mean 'factorial'"),
    ],
)
def test_what_is_no_design_is_said_in_words(design: dict[str, Any], message: str) -> None:
    assert any(message in problem for problem in problems(design)), problems(design)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"rows": ["full", "w/o BOI"]},
            "table.rows[1]: no arm is called 'w/o BOI'; did you mean 'w/o BIO'?",
        ),
        (
            {"groups": {"Ours": ["ful"]}},
            "table.groups.Ours[0]: no arm is called 'ful'; did you mean 'full'?",
        ),
        ({"groups": {"A": ["full"], "B": ["full"]}}, "the group 'A'"),
        ({"names": {"test.acuracy": "acc"}}, "did you mean 'test.accuracy'?"),
        ({"names": {"full": "w/o BIO"}}, "'w/o BIO' and 'full' would both be shown as 'w/o BIO'"),
        ({"precision": {"test.loss": 3}}, "the table has no metric 'test.loss'"),
        ({"precision": 20}, "table.precision: should be less than or equal to 8"),
        (
            {"precision": {"test.gap": 20}},
            "table.precision.test.gap: should be less than or equal to 8",
        ),
        (
            {"rows": ["full"], "groups": {"A": ["w/o BIO"]}},
            "'w/o BIO' is not among the table's rows",
        ),
        (
            {"components": {"B": "method.bio.wait"}},
            "no trial has 'method.bio.wait'; did you mean 'method.bio.weight'?",
        ),
        ({"columns": "arms"}, "table.columns: 'arms' is not known"),
        ({"label": "tab:{x}"}, "use letters, digits, ':', '.'"),
    ],
)
def test_names_in_the_table_are_checked(table: dict[str, Any], message: str) -> None:
    found = problems({"type": "leave_one_out", "components": OFF}, table=table)
    assert any(message in problem for problem in found), found


def test_two_arms_of_one_name_are_refused() -> None:
    components = {
        "A, B": {"method.bio.weight": 0},
        "A": {"method.tcm.rate": 0},
        "B": {"optimizer.momentum": 0},
    }
    found = problems({"type": "leave_one_out", "components": components, "pairs": True})
    assert len(found) == 1
    assert "'w/o A, B'" in found[0]


@pytest.mark.parametrize(
    ("seeds", "table", "message"),
    [
        # 2^(1 - n) m is below alpha from 7 seeds on for two comparisons, at 0.4 from 4 on
        (
            5,
            {},
            "5 seeds is 0.062, above the level of Holm's correction, 0.025 for 2 comparisons",
        ),
        (
            6,
            {},
            "at least 7 seeds, or test: t",
        ),
        (1, {}, "1 seed is 1,"),
        ([3, 8], {}, "2 seeds is 0.5,"),
        (3, {"alpha": 0.4}, "at least 4 seeds"),
        (
            {"min": 2, "max": 5},
            {},
            "5 seeds is 0.062, above the level of the last look",
        ),
        ({"min": 2, "max": 6}, {}, "at least 7 seeds"),
        ({"min": 3, "max": 9}, {"alpha": 1e-300}, "; use test: t"),
    ],
)
def test_a_signed_rank_test_that_can_decide_nothing_is_refused(
    seeds: Any, table: dict[str, Any], message: str
) -> None:
    arms = {"type": "leave_one_out", "components": {name: OFF[name] for name in ("BIO", "TCM")}}
    (found,) = problems(arms, seeds=seeds, table={"test": "wilcoxon", **table})
    assert message in found


@pytest.mark.parametrize(
    ("seeds", "table", "components"),
    [
        (7, {}, 2),
        (6, {}, 1),
        (4, {"alpha": 0.4}, 2),
        ({"min": 3, "max": 12}, {}, 2),
        (2, {"test": "t"}, 2),
    ],
)
def test_a_test_that_can_decide_something_is_taken(
    seeds: Any, table: dict[str, Any], components: int
) -> None:
    arms = {"type": "leave_one_out", "components": dict([*OFF.items()][:components])}
    plan_of(arms, seeds=seeds, table={"test": "wilcoxon", **table})


def test_a_design_of_fewer_arms_on_each_data_set_has_fewer_comparisons() -> None:
    """Six seeds suffice for one comparison per data set: 0.5 is the base of the other data set."""
    datasets = {
        "a": {"data.views": ["pix", "zer"]},
        "b": {"data.views": ["fou", "zer"], "method.bio.weight": 0.5},
    }
    design = {"type": "one_factor", "factors": {"method.bio.weight": [0.5, 1]}}
    plan = plan_of(design, datasets=datasets, seeds=6, table={"test": "wilcoxon"})
    assert [cell.arm for cell in plan.cells] == ["base", "bio.weight=0.5", "base", "bio.weight=1"]


def test_results_of_a_study_that_can_decide_nothing_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    design = {"type": "leave_one_out", "components": OFF}
    content = {
        "name": "x",
        "base": "mfeat",
        "design": design,
        "seeds": 3,
        "table": {"test": "wilcoxon"},
    }
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="signed-rank"):
        load_plan(path)
    record = find_study_record(str(path), MlflowStore(f"sqlite:///{tmp_path}/none.db"))
    assert (record.table.test, len(record.seeds)) == ("wilcoxon", 3)


def test_the_metric_that_decides_is_one_of_every_data_set() -> None:
    datasets = {"a": {"data.views": ["pix", "zer"]}, "b": {"data.views": ["fou", "kar"]}}
    arms = {"type": "leave_one_out", "components": OFF}
    more = {"datasets": datasets, "table": {"metrics": ["test.accuracy", "test.accuracy.zer"]}}
    (found,) = problems(arms, seeds={"min": 3, "max": 9, "metric": "test.accuracy.zer"}, **more)
    assert "not every data set has 'test.accuracy.zer'" in found


def test_seeds_are_given_once_on_the_command_line() -> None:
    with pytest.raises(ConfigError, match="--seeds is given too"):
        load_plan(
            {"name": "x", "base": "mfeat", "design": {"type": "leave_one_out", "components": OFF}},
            ["seeds=3"],
            2,
        )


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ({"min": 3, "max": 3}, "seeds.max: max 3 is not above min 3"),
        ({"min": 1, "max": 3}, "seeds.min"),
        ({"max": 1000}, "seeds.max"),
        ({"min": 3}, "'seeds.max' is missing"),
        ({"min": 3, "max": 9, "stop": "never"}, "seeds.stop"),
        ({"min": 3, "max": 9, "metric": "test.acuracy"}, "did you mean 'test.accuracy'"),
        ({"min": 3, "max": 9, "metric": "test.loss"}, "the table has no metric 'test.loss'"),
        ("many", "expected a number of seeds, a list of seeds or {min: ..., max: ...}, got 'many'"),
    ],
)
def test_adaptive_seeds_are_checked(seeds: Any, message: str) -> None:
    found = problems({"type": "leave_one_out", "components": OFF}, seeds=seeds)
    assert any(message in problem for problem in found), found
