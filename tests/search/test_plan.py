"""Search-space files: what they stand for, and everything that can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibml.common.errors import ConfigError
from ibml.common.yaml import documents
from ibml.search.plan import FIRST_SEED, load_search
from tests.conftest import ROOT, CommandLine
from tests.support.searches import BIO, FUSION, LR, plan_of

SHIPPED = sorted((ROOT / "search_spaces").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_spaces_are_valid(path: Path) -> None:
    plan = load_search(path, "mfeat")
    assert plan.name == path.stem
    assert not plan.warnings
    assert plan.space.searched


def test_whole_numbers_are_those_whose_field_takes_nothing_else() -> None:
    plan = plan_of(
        BIO
        | {
            "method.window.first_epoch": {"low": 0, "high": 5},
            "trainer.batch_size": {"choices": [32]},
        }
    )
    assert {d.path: d.whole for d in plan.space.dimensions} == {
        "method.bio.weight": False,
        "method.window.first_epoch": True,
        "trainer.batch_size": False,
    }


def test_inactive_parameters_are_in_no_configuration() -> None:
    space = plan_of(FUSION).space
    for kind, inside in (
        ("concat", set()),
        ("film", {"condition"}),
        ("attention", {"width", "heads", "feedforward"}),
    ):
        picks = {"fusion.type": kind, "fusion.condition": "last", "fusion.width": 32}
        values = space.walk(lambda d, picks=picks: picks[d.path])
        config, problems = space.build_config(values)
        assert not problems
        assert set(config.model_dump()["fusion"]) == {"type", *inside}
        assert set(values) - {"fusion.type"} <= {f"fusion.{name}" for name in inside}


def test_conditions_go_as_deep_as_wanted_and_bounds_are_conditions() -> None:
    plan = plan_of(
        {
            "fusion.heads": {"choices": [2, 4], "when": {"fusion.width": {"low": 50}}},
            "fusion.width": {"choices": [32, 64], "when": {"fusion.type": "attention"}},
            "fusion.type": {"choices": ["concat", "attention"]},
        }
    )
    assert [d.path for d in plan.space.dimensions] == [
        "fusion.type",
        "fusion.width",
        "fusion.heads",
    ]
    assert plan.space.size == 1 + 1 + 2


def test_a_grid_is_as_large_as_its_conditions_allow() -> None:
    plan = plan_of(
        FUSION | {"method.bio.weight": {"low": 0, "high": 1, "step": 0.5}}, sampler={"type": "grid"}
    )
    assert plan.space.size == plan.trials == 3 * (1 + 2 + 2)


def test_a_choice_may_be_a_whole_setting() -> None:
    windows = [{"first_epoch": 1}, {"first_epoch": 2, "stop_epoch": 5}]
    space = plan_of({"method.window": {"choices": windows}}).space
    config, _ = space.build_config({"method.window": windows[1]})
    assert (config.method.window.first_epoch, config.method.window.stop_epoch) == (2, 5)
    assert space.dimensions[0].decode(space.dimensions[0].encode(windows[1])) == windows[1]


def test_ranges_may_be_large_and_conditions_narrow() -> None:
    plan = plan_of(
        {
            "trainer.batch_size": {"low": 1, "high": 10**9},
            "method.tcm.rate": {"low": 0, "high": 2, "step": 0.5},
            "method.tcm.noise_scale": {
                "low": 1,
                "high": 2,
                "when": {"method.tcm.rate": {"low": 0.4, "high": 0.6}},
            },
        }
    )
    assert plan.space.size is None
    with pytest.raises(ConfigError, match="at most 10,000 values"):
        plan_of({"trainer.batch_size": {"low": 1, "high": 10**9}}, sampler={"type": "grid"})


def test_an_objective_that_some_proposals_would_not_log_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'val.accuracy.pix' is not logged where data.views"):
        plan_of(
            {"data.views": {"choices": [["pix", "zer"], ["fou", "mor"]]}},
            objectives=[{"metric": "val.accuracy.pix"}],
        )


def test_the_paper_starts_from_whole_settings_too() -> None:
    (start,) = load_search(
        ROOT / "search_spaces" / "tcm_schedule.yaml", "mfeat"
    ).resolve_starting_values({})
    assert start["method.window"] == '{"first_epoch": 1}'
    windows = [{"first_epoch": 1}, {"first_epoch": 2, "stop_epoch": 5}]
    plan = plan_of(
        {"method.window": {"choices": windows}}, start_from=[{"method.window": windows[1]}]
    )
    assert plan.resolve_starting_values({}) == [
        {"method.window": '{"first_epoch": 2, "stop_epoch": 5}'}
    ]


def test_epochs_that_are_searched_count_at_their_most() -> None:
    assert plan_of({"trainer.epochs": {"low": 5, "high": 90}}).epochs == 90


def test_seeds_of_searches_are_none_that_studies_count_through() -> None:
    assert plan_of(LR, seeds_per_trial=2).seeds == (FIRST_SEED, FIRST_SEED + 1)


def test_the_paper_and_the_base_are_known_starts() -> None:
    plan = plan_of(
        LR | BIO | FUSION,
        overrides={"trainer.epochs": 10, "optimizer.lr": 0.05, "fusion.type": "film"},
        start_from=["paper", "base", {"method.bio.weight": 3}],
    )
    paper, base, given = plan.resolve_starting_values({})
    assert paper == {"optimizer.lr": 0.01, "method.bio.weight": 1.0, "fusion.type": "concat"}
    assert base["optimizer.lr"], base["fusion.condition"] == (0.05, "first")
    assert given == {"method.bio.weight": 3}


def test_the_best_of_an_earlier_search_is_a_start_as_far_as_the_space_has_it() -> None:
    plan = plan_of(LR | FUSION, start_from=[{"search": "before"}])
    before = {"optimizer.lr": 0.02, "fusion.type": "gated", "method.bio.weight": 2.0}
    assert plan.resolve_starting_values({"before": before}) == [{"optimizer.lr": 0.02}]


BAD = [
    ("optimizer.lrr: {low: 1.0e-4, high: 1.0e-1}", 5, "did you mean 'optimizer.lr'?"),
    ("optimizer.lr: {low: 1, high: 0.1}", 5, "low 1 is not below high 0.1"),
    ("optimizer.lr: {low: 0, high: 0.1, log: true}", 5, "a logarithm needs low above 0"),
    (
        "optimizer.lr: {low: 0.001, high: 0.1, log: true, step: 0.1}",
        5,
        "log and step exclude each other",
    ),
    ("optimizer.lr: {low: 0.001, high: 0.1, step: 0}", 5, "greater than 0"),
    ("optimizer.lr: {low: -1, high: 0.1}", 5, "greater than 0"),
    ("optimizer.lr: {low: a, high: 0.1}", 5, "low"),
    ("optimizer.lr: {low: 0.1}", 5, "'parameters.optimizer.lr.high' is missing"),
    ("optimizer.lr: {low: 0.1, hihg: 1}", 5, "hihg"),
    ("optimizer.lr: 0.1", 5, "parameters.optimizer.lr"),
    ("fusion.type: {choices: []}", 5, "at least 1"),
    ("fusion.type: {choices: [sum, sum]}", 5, "two choices are equal"),
    ("fusion.type: {choices: [sum, gate]}", 5, "did you mean 'gated'?"),
    (
        "fusion.condition: {choices: [first], when: {fusion.type: film}}",
        5,
        "'fusion.type' is not searched",
    ),
    (
        "fusion.condition: {choices: [first]}\n  fusion.type: {choices: [sum, film]}",
        5,
        "when: {fusion.type: [film]}",
    ),
    (
        "fusion.condition: {choices: [first], when: {fusion.type: filmm}}\n"
        "  fusion.type: {choices: [sum, film]}",
        5,
        "'fusion.type' is never 'filmm'; did you mean 'film'?",
    ),
    ("fusion.width: {low: 8, high: 64, when: {fusion.width: 8}}", 5, "cycle"),
    (
        "method.bio.weight: {low: 0, high: 1}\n"
        "  method.tcm.rate: {low: 0, high: 1, when: {method.bio.weight: {low: 2}}}",
        6,
        "'method.bio.weight' is never",
    ),
    (
        "fusion.type: {choices: [sum]}\n  method.tcm.rate: {low: 0, high: 1, "
        "when: {fusion.type: {low: 2}}}",
        6,
        "'fusion.type' is not a number",
    ),
    ("method.window.stop_epoch: {low: 9, high: 60}", 5, "outside the 40 epochs"),
    ("method.window.first_epoch: {low: 0.5, high: 6}", 5, "expected a whole number"),
    (
        "method.window.first_epoch: {low: 0, high: 20}\n"
        "  method.window.stop_epoch: {low: 21, high: 40}"
        "\n  trainer.epochs: {low: 21, high: 60}",
        6,
        "'when'",
    ),
    (
        "method.bio: {choices: [{weight: 1}]}\n  method.bio.weight: {low: 0, high: 1}",
        6,
        "is a part of 'method.bio'",
    ),
    ("seed: {low: 0, high: 5}", 5, "'seed'"),
    ("optimizer.lr: {low: 1.0e-6, high: 1, step: 1.0e-9}", 5, "more than a million values"),
    ("optimizer.lr: {low: 0.1, high: 1, step: 5.0e-324}", 5, "more than a million values"),
    ("trainer.batch_size: {low: 8, high: 64, step: 0.5}", 5, "takes whole numbers"),
    ("optimizer.momentum: {choices: [0, 0.0, 0.9]}", 5, "two choices are equal"),
    (
        "optimizer.lr: {low: 0.1, high: 1}\n  bogus.path: {low: 0, high: 1, "
        "when: {optimizer.lr: []}}",
        6,
        "at least 1",
    ),
    (
        "optimizer.lr: {low: 0.1, high: 1}\n"
        "  optimizer.momentum: {low: 0, high: 0.5, when: {optimizer.lr: {low: 0.5, high: 0.2}}}",
        6,
        "conditions are never met",
    ),
    (
        "method.tcm.rate: {low: 0, high: 2, step: 0.5}\n"
        "  method.tcm.noise_scale: {low: 1, high: 2, "
        "when: {method.tcm.rate: {low: 0.6, high: 0.9}}}",
        6,
        "conditions are never met",
    ),
]


@pytest.mark.parametrize(("parameters", "line", "words"), BAD)
def test_a_wrong_parameter_is_refused_at_its_line(
    tmp_path: Path, parameters: str, line: int, words: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"name: bad\n\nbase: mfeat\nparameters:\n  {parameters}\n")
    with pytest.raises(ConfigError) as caught:
        load_search(path)
    problem = next((p for p in caught.value.problems if words in str(p)), None)
    assert problem, str(caught.value)
    assert (problem.source.file, problem.source.line) == (str(path), line)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"objectives": [{"metric": "test.accuracy"}]},
            "test data; did you mean 'val.accuracy'?",
        ),
        (
            {"objectives": [{"metric": "val.acuracy"}]},
            "no trial logs 'val.acuracy'; did you mean 'val.accuracy'?",
        ),
        ({"objectives": [{"metric": "val.gap"}, {"metric": "val.gap"}]}, "listed twice"),
        ({"constraints": [{"metric": "time.epoch"}]}, "needs 'max' or 'min'"),
        ({"constraints": [{"metric": "time.epok", "max": 1}]}, "did you mean 'time.epoch'?"),
        (
            {
                "objectives": [{"metric": "val.accuracy"}, {"metric": "val.gap"}],
                "scheduler": {"type": "asha"},
            },
            "early stopping ranks trials by one value",
        ),
        ({"scheduler": {"type": "wilcoxon"}}, "no comparison gives p below 0.1"),
        ({"sampler": {"type": "grid"}}, "give a step or choices"),
        ({"sampler": {"type": "tpee"}}, "did you mean 'tpe'?"),
        ({"start_from": [{"optimizer.lr": 5}]}, "5 is not in the range"),
        ({"start_from": [{"optimizer.l": 5}]}, "did you mean 'optimizer.lr'?"),
        ({"start_from": ["papr"]}, "start_from"),
        ({"trials": 0}, "trials"),
        (
            {"constraints": [{"metric": "val.gap", "max": 1}, {"metric": "val.gap", "max": 2}]},
            "two bounds of one kind",
        ),
        ({"base": "mfeet"}, "did you mean 'mfeat'?"),
        ({"base": None}, "no base"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_of(LR, **settings)
    assert words in str(caught.value)


def test_all_that_is_wrong_is_said_at_once(cli: CommandLine) -> None:
    cli.write(
        "bad.yaml",
        "name: bad\nparameters:\n  optimizer.lrr: {low: 1, high: 2}\n"
        "  fusion.type: {choices: [summ]}\n"
        "objectives: [{metric: test.accuracy}]\ntrials: 0\n",
    )
    answer = cli.inside("tune", "bad.yaml", "--base", "mfeat", "-o", "trainer.epochs=0")
    assert answer.code == 2
    assert (
        "-o trainer.epochs=0: trainer.epochs: should be greater than or equal to 1, got 0"
        in answer.err
    )
    answer = cli.inside("tune", "bad.yaml", "--base", "mfeat")
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"bad.yaml:{n}" for n in (3, 4, 5, 6)]


def test_what_is_probably_not_meant_is_said() -> None:
    few = plan_of(LR, trials=10, sampler={"type": "tpe", "startup_trials": 10})
    assert "10 trials are not more than the 10 random" in few.warnings[0]
    late = plan_of(LR, scheduler={"type": "asha", "grace_epochs": 10})
    assert "no trial is stopped early" in late.warnings[0]


def test_proposals_that_act_in_no_epoch_are_noted() -> None:
    short = plan_of(LR, overrides={"trainer.epochs": 1})
    assert short.warnings[-1].endswith("and training has 1 epoch; it is plain joint training")
    epochs = plan_of(LR | {"trainer.epochs": {"choices": [1, 5]}})
    assert epochs.warnings[-1].startswith("where trainer.epochs: 1: ibml acts from epoch 1 on")
    late = plan_of({"method.window.first_epoch": {"choices": [0, 60]}})
    assert late.warnings[-1].startswith(
        "where method.window.first_epoch: 60: ibml acts from epoch 60 on"
    )
    assert not any("acts from" in warning for warning in plan_of(LR).warnings)
    types = {"method.type": {"choices": ["joint", "ibml"]}}
    assert (
        plan_of(types, overrides={"trainer.epochs": 1})
        .warnings[-1]
        .startswith("where method.type: ibml: ibml acts")
    )


FORMS = "{low: ..., high: ...}, {choices: [...]} or {value: ...}"


@pytest.mark.parametrize(
    ("path", "parameter", "message"),
    [
        (
            "optimizer.lr",
            "{values: [0.1, 0.2]}",
            "'values' is not a key of a parameter; write {choices: [0.1, 0.2]}",
        ),
        (
            "optimizer.lr",
            "{min: 0.1, max: 1}",
            "'min' and 'max' are not keys of a parameter; write {low: 0.1, high: 1}",
        ),
        (
            "optimizer.lr",
            "{distribution: log_uniform_values, max: 0.1, min: 0.001}",
            "'distribution', 'max' and 'min' are not keys of a parameter; "
            "write {low: 0.001, high: 0.1, log: true}",
        ),
        ("optimizer.lr", "{distribution: uniform, min: 0, max: 1}", "write {low: 0, high: 1}"),
        (
            "optimizer.lr",
            "{distribution: q_uniform, min: 0, max: 1, q: 0.1}",
            "write {low: 0, high: 1, step: 0.1}",
        ),
        (
            "optimizer.lr",
            "{distribution: constant, value: 0.1}",
            "'distribution' is not a key of a parameter; write {value: 0.1}",
        ),
        ("optimizer.lr", "{distribution: normal, mu: 0, sigma: 1}", f"write {FORMS}"),
        (
            "optimizer.lr",
            "{type: float, low: 0.1, high: 1, log: true}",
            "write {low: 0.1, high: 1, log: true}",
        ),
        (
            "optimizer.lr",
            "{low: 0.1, max: 1}",
            "'max' is not a key of a parameter; write {low: 0.1, high: 1}",
        ),
        (
            "fusion.type",
            "{type: categorical, choices: [sum, late]}",
            "write {choices: [sum, late]}",
        ),
        ("optimizer.lr", "{grid_search: [0.1]}", "write {choices: [0.1]}"),
        (
            "optimizer.lr",
            "[0.1, 0.5]",
            "a list of values is {choices: [0.1, 0.5]}, and a range between two numbers is "
            "{low: 0.1, high: 0.5}",
        ),
        ("fusion.type", "[sum, late]", "a list of values is {choices: [sum, late]}"),
        ("optimizer.lr", "0.1", f"a parameter is {FORMS}; for a constant write {{value: 0.1}}"),
        ("optimizer.lr", "loguniform(1e-4, 1e-1)", f"a parameter is {FORMS}"),
        (
            "optimizer",
            "{parameters: {lr: {min: 0.1, max: 1}}}",
            "nested parameters are written as dotted paths, for instance ...lr: "
            "{low: 0.1, high: 1}",
        ),
        (
            "method",
            "{bio: {weight: {low: 0, high: 1}}}",
            "for instance ...bio.weight: {low: 0, high: 1}",
        ),
    ],
)
def test_spaces_of_other_tools_are_answered_with_how_they_are_written_here(
    tmp_path: Path, path: str, parameter: str, message: str
) -> None:
    file = tmp_path / "foreign.yaml"
    file.write_text(
        f"name: foreign\nbase: mfeat\nparameters:\n  trainer.batch_size: {{value: 8}}\n"
        f"  {path}: {parameter}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_search(file)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{file}:5: parameters.{path}: ")
    assert message in problem.message


def test_what_is_suggested_for_another_tools_space_is_accepted() -> None:
    for parameter in ({"min": 0.1, "max": 0.5}, {"values": [0.1, 0.2]}, [0.1, 0.2], 0.1):
        with pytest.raises(ConfigError) as caught:
            plan_of({"optimizer.lr": parameter})
        written = documents.parse(
            f"optimizer.lr: {str(caught.value).rpartition(' {')[2].join(['{', ''])}", "f"
        ).data
        assert plan_of(written).space.dimensions[0].path == "optimizer.lr"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": {"name": "val.accuracy"}}, "unknown key 'metric'; did you mean 'objectives'?"),
        ({"method": "bayes"}, "unknown key 'method'; did you mean 'sampler'?"),
        ({"run_cap": 5}, "unknown key 'run_cap'; did you mean 'trials'?"),
        ({"n_trials": 5}, "unknown key 'n_trials'; did you mean 'trials'?"),
        (
            {"objectives": [{"metric": "val.gap", "goal": "minimize"}]},
            "unknown key 'objectives[0].goal'; did you mean 'objectives[0].direction'?",
        ),
        (
            {
                "parameters": LR
                | {"fusion.type": {"value": "sum", "when": {"optimizer.lr": {"min": 0.1}}}}
            },
            "parameters.fusion.type.when.optimizer.lr: bounds are 'low' and 'high'; "
            "write {low: 0.1}",
        ),
    ],
)
def test_other_words_for_the_keys_of_a_search_are_understood(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_search({"name": "s", "base": "mfeat", "parameters": LR} | change)
    assert message in str(caught.value)


def test_values_of_the_command_line_go_into_the_space_or_the_trial(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "name: a\nparameters:\n  optimizer.lr: {low: 1.0e-3, high: 0.1}\n"
        "sampler: {type: gp, seed: 3}\n"
    )
    plan = load_search(
        path,
        "mfeat",
        [
            "parameters.optimizer.lr.high=0.5",
            "parameters.method.bio.weight={low: 0, high: 4}",
            "trainer.epochs=7",
            "sampler.type=random",
            "fusion.type=sum",
        ],
    )
    assert plan.config.parameters["method.bio.weight"].high == 4
    assert plan.config.parameters["optimizer.lr"].high == 0.5
    assert plan.space.base.trainer.epochs == 7
    assert plan.space.base.fusion.type == "sum"
    assert plan.config.sampler.type == "random"


def test_a_dry_run_shows_the_space_and_imports_nothing_heavy(cli: CommandLine) -> None:
    answer = cli.inside(
        "tune", str(ROOT / "search_spaces" / "ibml.yaml"), "--base", "mfeat", "--dry-run"
    )
    assert answer.code == 0
    assert "fusion.type: film or gated" in " ".join(answer.out.split())
    assert "40 trials, at most 1,600 epochs" in answer.out
    assert not (cli.folder / "optuna.db").exists()
