"""From study files to trials, and every error at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibml.common.errors import ConfigError
from ibml.study.planning.plan import Plan, load_plan, load_trial
from ibml.study.planning.record import study_record
from ibml.study.planning.trials import build_trials
from tests.conftest import ROOT

STUDY = """\
name: study
description: A question.
base: mfeat
overrides: {trainer.epochs: 4}
design:
  type: arms
  reference: IBML
  arms:
    Joint: {method.bio.weight: 0, method.tcm.rate: 0}
    IBML: {}
seeds: 3
"""


@pytest.fixture
def write(tmp_path: Path):
    def to_file(text: str = STUDY) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return path

    return to_file


def errors(path: Path, *overrides: str, seeds: int | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_plan(path, overrides, seeds)
    return [str(problem).removeprefix(f"{path.parent}/") for problem in caught.value.problems]


def test_arms_times_seeds(write) -> None:
    plan = load_plan(write())
    assert (plan.trials, plan.epochs, plan.arms, plan.reference) == (
        6,
        24,
        ["Joint", "IBML"],
        "IBML",
    )
    assert plan.metrics == ["test.accuracy", "test.accuracy.pix", "test.accuracy.zer", "test.gap"]
    assert plan.cells[0].changes == {"method.bio.weight": 0.0, "method.tcm.rate": 0.0}
    assert plan.cells[1].changes == {}
    trials = build_trials(plan)
    assert [(t.cell.arm, t.config.seed) for t in trials[:4]] == [
        ("Joint", 0),
        ("IBML", 0),
        ("Joint", 1),
        ("IBML", 1),
    ]
    assert len({t.key for t in trials}) == 6


def test_command_line_overrides_lie_between_the_base_and_the_arms(write) -> None:
    plan = load_plan(
        write(), ["trainer.epochs=7", "method.bio.weight=3", "table.alpha=0.1"], seeds=2
    )
    joint, ibml = plan.cells
    assert joint.config.trainer.epochs == ibml.config.trainer.epochs == 7
    assert (joint.config.method.bio.weight, ibml.config.method.bio.weight) == (0, 3)
    assert plan.study.table.alpha == 0.1
    assert plan.study.seeds == (0, 1)


def test_a_changed_type_starts_from_its_defaults(write) -> None:
    text = STUDY.replace("trainer.epochs: 4", "trainer.epochs: 4, fusion.type: lmf, fusion.rank: 3")
    plan = load_plan(write(text.replace("IBML: {}", "IBML: {}\n    Sum: {fusion.type: sum}")))
    assert [cell.config.fusion.type for cell in plan.cells] == ["lmf", "lmf", "sum"]


def test_a_type_that_the_base_does_not_name_is_reset_too() -> None:
    def rate(**optimizer: object) -> float:
        arms = {"a": {}, "b": {"optimizer.type": "adam"}}
        base = {"data": {"type": "mfeat"}, "optimizer": optimizer}
        plan = load_plan(
            {"name": "x", "base": base, "design": {"type": "arms", "reference": "a", "arms": arms}}
        )
        return plan.cells[1].config.optimizer.lr

    assert rate(lr=0.5) == rate(type="sgd", lr=0.5) == 1e-3


def test_the_file_hash_is_of_the_bases_too(write, tmp_path: Path) -> None:
    hashes = []
    for views in ("[fou, kar]", "[fou, mor]"):
        (tmp_path / "own.yaml").write_text(f"data: {{type: mfeat, views: {views}}}\n")
        hashes.append(load_plan(write(STUDY.replace("base: mfeat", "base: own.yaml"))).file_hash)
    assert hashes[0] != hashes[1]


def test_one_factor_goes_around_the_base(write) -> None:
    text = """\
name: sweep
base: mfeat
design:
  type: one_factor
  factors:
    method.bio.weight: [0, 1, 2]
    fusion.type: [concat, sum]
"""
    plan = load_plan(write(text))
    assert plan.arms == ["base", "bio.weight=0", "bio.weight=2", "fusion.type=sum"]
    assert plan.reference == "base"
    assert [note.split()[0] for note in plan.notes] == ["bio.weight=1", "fusion.type=concat"]


def test_data_sets_cross_the_arms(write) -> None:
    text = STUDY + "datasets:\n  near: {}\n  far: {data.views: [fou, mor]}\n"
    plan = load_plan(write(text))
    assert (plan.datasets, plan.trials) == (["near", "far"], 12)
    assert plan.metrics == ["test.accuracy", "test.gap"], "only what all data sets have by default"
    listed = load_plan(write(STUDY.replace("base: mfeat\n", "") + "datasets: [mfeat]\n"))
    assert (listed.datasets, listed.trials) == (["mfeat"], 6)


def test_a_mapping_is_a_study_too() -> None:
    plan = load_plan(
        {
            "name": "inline",
            "base": {"data": {"type": "mfeat"}, "encoders": {"default": {"type": "mlp"}}},
            "design": {
                "type": "arms",
                "reference": "a",
                "arms": {"a": {}, "b": {"method.type": "joint"}},
            },
            "seeds": [4, 9],
        }
    )
    assert (plan.trials, plan.study.seeds) == (4, (4, 9))
    with pytest.raises(ConfigError, match=r"^ablation: design.arms.a: unknown key 'fusion.tpye'"):
        load_plan(
            {
                "name": "x",
                "base": "mfeat",
                "design": {"type": "arms", "reference": "a", "arms": {"a": {"fusion.tpye": "sum"}}},
            }
        )


def test_bases_are_found_beside_the_file(write, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "data: {type: mfeat, views: [fou, kar]}\nencoders: {default: {type: mlp}}\n"
    )
    plan = load_plan(write(STUDY.replace("base: mfeat", "base: own.yaml")))
    assert plan.cells[0].config.data.views == ("fou", "kar")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("name: study", "name: my study"), "study.yaml:1: name: 'my study'"),
        (
            ("base: mfeat", "base: mfaet"),
            "study.yaml:3: base: ",
        ),
        (("base: mfeat", "base: none.yaml"), "none.yaml: "),
        (("base: mfeat\n", ""), "no base"),
        (("seeds: 3", "seeds: 0"), "study.yaml:11: seeds: "),
        (("seeds: 3", "seeds: true"), "study.yaml:11: seeds: "),
        (("seeds: 3", "seeds: [1, 1]"), "study.yaml:11: seeds: "),
        (
            ("seeds: 3", "seeds: [1, -2]"),
            "study.yaml:11: seeds[1]: ",
        ),
        (("seeds: 3", "seds: 3"), "study.yaml:11: unknown key 'seds'"),
        (
            ("reference: IBML", "reference: IBLM"),
            "study.yaml:7: design.reference: ",
        ),
        (
            ("type: arms", "type: arm"),
            "study.yaml:5: design.type: 'arm'",
        ),
        (
            ("IBML: {}", "IBML: {fusion.tpye: sum}"),
            "study.yaml:10: design.arms.IBML: unknown key 'fusion.tpye'",
        ),
        (
            ("IBML: {}", "IBML: {fusoin: {type: sum}}"),
            "study.yaml:10: design.arms.IBML: unknown key 'fusoin'",
        ),
        (
            ("IBML: {}", "IBML: {fusion.type: gatd}"),
            "study.yaml:10: design.arms.IBML: fusion.type: 'gatd'",
        ),
        (
            ("IBML: {}", "IBML: {data.views: [pix, zr]}"),
            "study.yaml:10: design.arms.IBML: data.views[1]: 'zr'",
        ),
        (
            ("IBML: {}", "IBML: {method.bio.weight: heavy}"),
            "study.yaml:10: design.arms.IBML: method.bio.weight: ",
        ),
        (
            ("IBML: {}", "IBML: {trainer.epochs: 2.5}"),
            "study.yaml:10: design.arms.IBML: trainer.epochs: ",
        ),
        (
            ("IBML: {}", "IBML: {method.window.stop_epoch: 9}"),
            "study.yaml:10: design.arms.IBML: method.window.stop_epoch: ",
        ),
        (("IBML: {}", "IBML: {seed: 3}"), "study.yaml:10: design.arms.IBML: 'seed'"),
        (
            ("IBML: {}", "IBML: {method.type: joint}"),
            "study.yaml:9: design.arms.Joint: ",
        ),
        (
            ("IBML: {}", "IBML: {}\n    Two: {trainer.device: cpu}"),
            "study.yaml:11: design.arms.Two: ",
        ),
        (
            ("IBML: {}", "IBML: {trainer.epochs.x: 1}"),
            "'trainer.epochs.x'",
        ),
        (
            ("IBML: {}", "IBML: {trainer.epochs: 5, trainer: {epochs: 6}}"),
            "'trainer.epochs'",
        ),
        (
            ("IBML: {}", "IBML: 3"),
            "study.yaml:10: design.arms.IBML: ",
        ),
        (
            ("epochs: 4}", "epoch: 4}"),
            "study.yaml:4: overrides: unknown key 'trainer.epoch'",
        ),
        (
            ("seeds: 3", "table: {metrics: [test.acuracy]}"),
            "study.yaml:11: table.metrics[0]: ",
        ),
        (
            ("seeds: 3", "table: {test: z}"),
            "study.yaml:11: table.test: 'z'",
        ),
        (
            ("seeds: 3", "resources: {gpu: -1}"),
            "study.yaml:11: resources.gpu: ",
        ),
        (
            ("seeds: 3", "datasets: {a: {}, b: {}}"),
            "study.yaml:11: datasets.b: ",
        ),
        (
            ("seeds: 3", "table: {metrics: [test.gap, test.gap]}"),
            "study.yaml:11: table.metrics: ",
        ),
        (
            ("seeds: 3", "resources: {gpu: 1.5}"),
            "study.yaml:11: resources.gpu: ",
        ),
        (
            ("seeds: 3", "resources: {cpu: 0.00001}"),
            "study.yaml:11: resources.cpu: ",
        ),
        (("seeds: 3", "datasets: [mfeat, mfeet]"), "'mfeet'"),
    ],
)
def test_each_error_names_its_line_and_key(write, change: tuple[str, str], expected: str) -> None:
    assert change[0] in STUDY
    found = errors(write(STUDY.replace(*change)))
    assert len(found) == 1, found
    assert expected in found[0]


def test_all_errors_of_a_file_come_at_once(write) -> None:
    text = STUDY.replace("seeds: 3", "seeds: 0\ncolour: red\ntable: {metrics: [test.f1]}")
    text = text.replace(
        "IBML: {}", "IBML: {fusion.type: gatd}\n    X: {method.bio.wieght: 1, trainer.epochs: '3'}"
    )
    found = errors(write(text))
    lines = [int(error.split(":")[1]) for error in found]
    assert lines == [10, 11, 11, 12, 13, 14]


def test_errors_of_the_command_line_name_the_option(write) -> None:
    for option, location in (
        ("trainer.epoch=3", "-o trainer.epoch=3: unknown key 'trainer.epoch'"),
        ("epochs", "-o epochs: "),
        ("trainer.epochs=[", "-o trainer.epochs=[:1: "),
    ):
        (found,) = errors(write(), option)
        assert found.startswith(location)
    (found,) = errors(write(), seeds=0)
    assert found.startswith("--seeds: seeds: ")


def test_mappings_merge_on_the_command_line_and_empty_ones_change_nothing(write) -> None:
    text = STUDY.replace(
        "trainer.epochs: 4", "trainer.epochs: 4, optimizer: {type: adamw, lr: 0.01}"
    )
    text = text.replace("IBML: {}", "IBML: {trainer: {}, encoders: {}}")
    plan = load_plan(write(text), ["optimizer={lr: 0.1}"])
    config = plan.cells[1].config
    assert (config.optimizer.type, config.optimizer.lr, config.trainer.epochs) == ("adamw", 0.1, 4)


def test_the_command_line_reaches_dotted_keys_of_the_file(write) -> None:
    given = [
        "overrides.trainer.epochs=5",
        "design.arms.Joint.method.bio.weight=0.5",
        "design.reference=Joint",
    ]
    plan = load_plan(write(), given)
    assert plan.cells[0].config.trainer.epochs == 5
    assert plan.cells[0].config.method.bio.weight == 0.5
    assert plan.reference == "Joint"


@pytest.mark.parametrize(
    "option",
    [
        "trainer.epochs=0",
        "trainer=null",
        "encoders.default=3",
        "fusion={type: film, condition: zzz}",
        "base=nope",
        "design.reference=X",
        "table.metrics=[foo]",
        "overrides.foo=1",
        "trainer.batch_size=5\nfoo: 3",
        "a." * 30 + "b=1",
        "trainer..epochs=1",
    ],
)
def test_what_the_command_line_breaks_is_blamed_on_it(write, option: str) -> None:
    found = errors(write(), option)
    assert all(error.startswith(f"-o {option}: ") for error in found), found


def test_what_is_no_plain_text_is_refused(tmp_path: Path, write) -> None:
    (found,) = errors(write(STUDY.replace("base: mfeat", 'base: "a\\0b.yaml"')))
    assert found.startswith("study.yaml:3: base: ")
    (found,) = errors(write(STUDY.replace("A question.", '"\\ud800"')))
    assert found.startswith("study.yaml:2: description: ")
    loop: dict = {"name": "x"}
    loop["base"] = loop
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_plan(loop)
    with pytest.raises(ConfigError, match="not plain data"):
        load_plan({"name": object()})


def test_trials_come_from_presets_files_and_overrides(tmp_path: Path) -> None:
    config = load_trial("mfeat", ["trainer.epochs=3", "optimizer.type=adam", "seed=5"])
    assert (config.trainer.epochs, config.optimizer.lr, config.seed) == (3, 1e-3, 5)
    with pytest.raises(ConfigError, match="'mfaet'"):
        load_trial("mfaet")
    with pytest.raises(ConfigError, match="-o a=1: unknown key 'a'"):
        load_trial("mfeat", ["a=1"])


@pytest.mark.parametrize(
    "path", sorted((ROOT / "ablations").rglob("*.yaml")), ids=lambda path: path.stem
)
def test_shipped_studies_are_valid(path: Path) -> None:
    plan = load_plan(path)
    assert plan.study.name == path.stem
    assert plan.study.description


def test_cosmetic_changes_keep_the_keys(write) -> None:
    before = [t.key for t in build_trials(load_plan(write()))]
    text = STUDY.replace("IBML: {}", "IBML: {method: {type: ibml}, fusion.type: concat}").replace(
        "study", "other"
    )
    text = text.replace("trainer.epochs: 4", "trainer: {epochs: 4, device: cpu}") + "# a comment\n"
    assert [t.key for t in build_trials(load_plan(write(text)))] == before


def test_arms_that_act_in_no_epoch_are_run_as_joint_with_a_note(write) -> None:
    text = STUDY + "datasets: {one: {}, two: {data.views: [fou, mor]}}\n"
    text = text.replace(
        "IBML: {}", "IBML: {}\n    PMR: {method: {type: pmr, window: {first_epoch: 2}}}"
    )
    plan = load_plan(write(text), ["trainer.epochs=1"])
    assert plan.arms == ["Joint", "IBML", "PMR"]
    assert [warning.partition(":")[0] for warning in plan.warnings] == ["IBML", "PMR"]
    assert all("method.window.first_epoch" in warning for warning in plan.warnings)
    trials = build_trials(plan)
    keys = {arm: {t.key for t in trials if t.cell.arm == arm} for arm in plan.arms}
    assert keys["Joint"] == keys["IBML"] == keys["PMR"], "they are the same trials"
    assert study_record(plan, trials).notes == tuple(plan.warnings), "the table says so"
    assert load_plan(write(text)).warnings == []


def test_a_late_window_in_one_arm_is_noted_for_that_arm(write) -> None:
    plan = load_plan(
        write(STUDY.replace("IBML: {}", "IBML: {}\n    Late: {method.window.first_epoch: 4}"))
    )
    assert [warning.partition(":")[0] for warning in plan.warnings] == ["Late"]
    found = errors(write(STUDY.replace("IBML: {}", "IBML: {}\n    Same: {trainer.device: cpu}")))
    assert len(found) == 1
    assert found[0].startswith("study.yaml:11: design.arms.Same: ")
    assert "'IBML'" in found[0]
    assert "trainer.device" in found[0]


def tuned(arms: dict[str, object], parameters: dict[str, object], **tune: object) -> Plan:
    design = {"type": "arms", "reference": next(iter(arms)), "arms": arms}
    space = {"parameters": parameters, **{k: v for k, v in tune.items() if k != "trials"}}
    study = {"name": "t", "base": "mfeat", "design": design, "seeds": 2}
    return load_plan({**study, "tune": {"space": space, "trials": tune.get("trials", 4)}})


LR = {"low": 1e-3, "high": 1e-1, "log": True}


def searched(plan: Plan) -> dict[str, list[str]]:
    return {
        a.cell.arm: [d.path for d in a.plan.space.searched] if a.plan else [] for a in plan.tuning
    }


def test_an_arm_is_not_searched_for_what_it_sets_or_has_not() -> None:
    plan = tuned(
        {
            "joint": {"method.type": "joint"},
            "heavy": {"method.bio.weight": 3},
            "adam": {"optimizer": {"type": "adam"}},
        },
        {
            "optimizer.lr": LR,
            "optimizer.momentum": {"choices": [0.5, 0.9]},
            "method.bio.weight": {"low": 0, "high": 4},
            "method.bio.ramp": {
                "choices": ["constant", "cosine"],
                "when": {"method.bio.weight": {"low": 1}},
            },
        },
    )
    assert searched(plan) == {
        "joint": ["optimizer.lr", "optimizer.momentum"],
        "heavy": ["optimizer.lr", "optimizer.momentum", "method.bio.ramp"],
        "adam": ["optimizer.lr", "method.bio.weight", "method.bio.ramp"],
    }


def test_a_type_is_not_searched_where_it_would_undo_what_an_arm_sets() -> None:
    types = {
        "optimizer.type": {"choices": ["sgd", "adamw"]},
        "optimizer.weight_decay": {"low": 1e-6, "high": 1e-2},
    }
    plan = tuned({"low": {"optimizer.lr": 0.001}, "free": {"fusion.type": "sum"}}, types)
    assert searched(plan) == {
        "low": ["optimizer.weight_decay"],
        "free": ["optimizer.type", "optimizer.weight_decay"],
    }


def test_constants_of_a_space_reach_every_arm() -> None:
    plan = tuned(
        {"a": {"fusion.type": "sum"}, "b": {"optimizer.lr": 0.02}},
        {"optimizer.lr": {"choices": [0.01, 0.1]}, "optimizer.momentum": {"value": 0.5}},
    )
    assert searched(plan) == {"a": ["optimizer.lr"], "b": []}
    assert plan.tuning[1].cell.config.optimizer.momentum == 0.5
    assert plan.tuning[1].cell.config.optimizer.lr == 0.02


def test_every_arm_has_the_same_budget() -> None:
    plan = tuned(
        {"a": {}, "b": {"method.type": "joint"}},
        {"optimizer.lr": LR},
        trials=7,
        sampler={"type": "random"},
    )
    assert {arm.plan.trials for arm in plan.tuning if arm.plan} == {7}
    assert plan.tuning_trials == 14


@pytest.mark.parametrize(
    ("parameters", "tune", "words"),
    [
        ({"optimizer.lrr": LR}, {}, "'optimizer.lr'"),
        (
            {"method.window.stop_epoch": {"low": 9, "high": 60}},
            {},
            "in arm 'a': method.window.stop_epoch: ",
        ),
        ({"optimizer.lr": LR}, {"base": "mfeat"}, "'base'"),
        ({"optimizer.lr": LR}, {"resources": {"cpu": 3}}, "'resources'"),
        (
            {"optimizer.lr": LR},
            {"overrides": {"trainer.epochs": 3}},
            "'overrides'",
        ),
        ({"optimizer.lr": LR}, {"scheduler": {"type": "pbt"}}, "pbt"),
        (
            {"optimizer.lr": LR},
            {"objectives": [{"metric": "val.accuracy"}, {"metric": "val.gap"}]},
            "objective",
        ),
        ({"optimizer.lr": LR}, {"start_from": [{"optimizer.momentun": 0.5}]}, "optimizer.momentun"),
        ({"optimizer.lr": LR}, {"trials": 0}, "tune.trials"),
    ],
)
def test_wrong_tuning_is_refused(
    parameters: dict[str, object], tune: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        tuned({"a": {}, "b": {"fusion.type": "sum"}}, parameters, **tune)
    assert words in str(caught.value)


def test_seeds_that_tune_do_not_evaluate(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: t\nbase: mfeat\nseeds: [1000000, 1]\n"
        "design: {type: arms, reference: a, arms: {a: {}}}\n"
        "tune: {space: missing.yaml}\n"
    )
    with pytest.raises(ConfigError, match=r"missing\.yaml: "):
        load_plan(path)
    (tmp_path / "missing.yaml").write_text(
        "name: s\nparameters:\n  optimizer.lr: {low: 0.001, high: 0.1}\n"
    )
    with pytest.raises(ConfigError, match="seed 1000000 "):
        load_plan(path)


def test_a_start_may_name_what_only_some_arms_have() -> None:
    plan = tuned(
        {"a": {}, "joint": {"method.type": "joint"}},
        {"optimizer.lr": LR, "method.bio.weight": {"low": 0, "high": 4}},
        start_from=[{"optimizer.lr": 0.05, "method.bio.weight": 2}],
    )
    assert plan.tuning[0].plan.resolve_starting_values({}) == [
        {"optimizer.lr": 0.05, "method.bio.weight": 2}
    ]
    assert plan.tuning[1].plan.resolve_starting_values({}) == [{"optimizer.lr": 0.05}]


def test_a_factor_is_searched_in_no_arm() -> None:
    design = {"type": "one_factor", "factors": {"method.bio.weight": [0.5, 2]}}
    space = {"parameters": {"optimizer.lr": LR, "method.bio.weight": {"low": 0, "high": 4}}}
    plan = load_plan({"name": "t", "base": "mfeat", "design": design, "tune": {"space": space}})
    assert searched(plan) == {
        arm: ["optimizer.lr"] for arm in ("base", "bio.weight=0.5", "bio.weight=2")
    }


def test_the_study_in_the_readme_can_be_run(tmp_path: Path) -> None:
    text = (
        (ROOT / "README.md")
        .read_text()
        .partition("    # ablations/mine.yaml\n")[2]
        .partition("    ibml ablate")[0]
    )
    file = tmp_path / "mine.yaml"
    file.write_text("".join(line.removeprefix("    ") for line in text.splitlines(keepends=True)))
    assert load_plan(file).trials == 30
    shorter = load_plan(file, ["trainer.epochs=25"], seeds=2)
    assert shorter.trials == 12
    assert shorter.name == "mine+seeds=2+trainer.epochs=25", "as the README says"
