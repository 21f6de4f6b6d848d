"""Names that look like numbers, and mappings that are left empty, mean what their author meant."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from ibml.common.errors import ConfigError
from ibml.common.yaml import documents
from ibml.config.loading.json_schema import build_schema
from ibml.search.plan import load_search
from ibml.study.planning.plan import Plan, load_plan, load_trial

NAMES = [
    "0",
    "0.50",
    "1e3",
    "0x1F",
    "on",
    "no",
    "true",
    "False",
    "null",
    "~",
    "2024-01-02",
    "12:30",
    "-1",
    ".nan",
    "+2",
    "1_000",
]

STUDY = """\
name: 2024
base: mfeat
overrides: {trainer.epochs: 3}
design:
  type: arms
  reference: %s
  arms:
%s
seeds: 2
table:
  rows: [%s]
  groups: {1: [%s], off: [%s]}
  names: {%s: 7, 0.50: no way}
"""


@pytest.fixture
def write(tmp_path: Path):
    def to_file(text: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return path

    return to_file


def named_study(reference: str) -> str:
    arms = "\n".join(
        f"    {name}: {{optimizer.lr: {number}.0e-3}}" for number, name in enumerate(NAMES, 1)
    )
    rows, first, others = ", ".join(NAMES), ", ".join(NAMES[:3]), ", ".join(NAMES[3:])
    return STUDY % (reference, arms, rows, first, others, NAMES[0])


def errors(source: object, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_plan(source, overrides)
    return [str(problem).rpartition("/")[2] for problem in caught.value.problems]


@pytest.mark.parametrize("reference", NAMES)
def test_a_name_is_the_text_as_it_is_written(write, reference: str) -> None:
    plan = load_plan(write(named_study(reference)))
    assert plan.reference == reference
    assert plan.arms == NAMES
    assert plan.study.name == "2024"
    assert plan.study.table.rows == tuple(NAMES)
    assert plan.study.table.groups == {"1": tuple(NAMES[:3]), "off": tuple(NAMES[3:])}
    assert plan.study.table.names == {"0": "7", "0.50": "no way"}


def test_the_schema_takes_such_names(write) -> None:
    jsonschema.validate(documents.read(write(named_study("0"))).data, build_schema("ablation"))


def test_names_on_the_command_line_are_taken_as_written(write) -> None:
    path = write(named_study("0"))
    assert load_plan(path, ["design.reference=0.50"]).reference == "0.50"
    assert load_plan(path, ["table={rows: [0.50, null], groups: {}}"]).study.table.rows == (
        "0.50",
        "null",
    )
    assert load_plan(path, ["design={reference: 1e3}"]).reference == "1e3"
    assert errors(path, "design.reference=0.5") == [
        "-o design.reference=0.5: reference '0.5' is not an arm; did you mean '0.50'?"
    ]


def test_names_from_python_are_those_of_a_file() -> None:
    arms = {
        0: {},
        0.5: {"optimizer.lr": 0.5},
        True: {"optimizer.lr": 0.1},
        None: {"optimizer.lr": 0.2},
    }
    for reference, name in ((0, "0"), (0.5, "0.5"), (True, "true"), (None, "null")):
        design = {"type": "arms", "reference": reference, "arms": arms}
        plan = load_plan(
            {"name": 5, "base": "mfeat", "design": design, "table": {"rows": [None, 0.5]}}
        )
        assert (plan.reference, plan.arms) == (name, ["0", "0.5", "true", "null"])
        assert plan.study.table.rows == ("null", "0.5")


def test_names_of_components_factors_and_data_sets(write) -> None:
    text = """\
name: 1
base: mfeat
design:
  type: factorial
  components: {0: {method.bio.weight: 0}}
  factors: {1: {2: {}, 0.50: {optimizer.lr: 0.5}}}
  reference: 1=0.50
datasets: {1: {}, on: {data.views: [fou, mor]}}
table: {names: {0: 5, 1: one}}
"""
    plan = load_plan(write(text))
    assert plan.reference == "1=0.50"
    assert len(plan.arms) == 4
    assert plan.datasets == ["1", "on"]
    assert plan.study.table.names == {"0": "5", "1": "one"}


def test_a_listed_data_set_may_look_like_a_number(write) -> None:
    text = "name: x\ndesign: {type: arms, reference: a, arms: {a: {}}}\ndatasets: [mfeat, 2024]\n"
    assert errors(write(text))[0].startswith(
        "study.yaml:3: datasets.2024: no preset is called '2024'"
    )


def test_a_name_that_is_too_long_is_refused_with_its_own_words(write) -> None:
    arms = f"{{a: {{}}, {'b' * 101}: {{}}}}"
    text = f"name: x\nbase: mfeat\ndesign: {{type: arms, reference: a, arms: {arms}}}\n"
    assert errors(write(text)) == [
        f"study.yaml:3: design.arms.{'b' * 101}: has more than 100 characters"
    ]


@pytest.mark.parametrize(
    "change", ["design.arms.0.50.optimizer.lr=0.2", "design={arms: {0.50: {optimizer.lr: 0.2}}}"]
)
def test_the_command_line_changes_an_arm_whose_name_has_a_point(write, change: str) -> None:
    cells = load_plan(write(named_study("0")), [change]).cells
    assert [cell.config.optimizer.lr for cell in cells if cell.arm == "0.50"] == [0.2]


def test_names_in_a_search_space_are_taken_as_written(write) -> None:
    text = (
        "name: 007\nbase: mfeat\nparameters: {optimizer.lr: {low: 0.1, high: 1}}\n"
        "start_from: [{search: 1e3}]\n"
    )
    plan = load_search(write(text))
    assert plan.name == "007"
    assert plan.config.start_from[0].search == "1e3"


def test_text_of_a_trial_is_taken_as_written(write) -> None:
    text = (
        "data: {type: folder, root: 2024, tables: 1.csv, label: 0, split: true, "
        "columns: {image: {kind: vector, column: 0.50}, b: {kind: vector, column: 1}}}\n"
    )
    path = write(text)
    data = load_trial(path).data
    assert (data.label, data.split, data.columns["image"].column) == ("0", "true", "0.50")
    assert data.root == str(path.parent / "2024"), "a path is relative to its file, digits or not"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "reference: 0",
            "reference:",
            "study.yaml:6: design.reference: expected text, got nothing",
        ),
        (
            "reference: 0",
            "reference: [0]",
            "study.yaml:6: design.reference: expected text, got [0]",
        ),
        ("reference: 0", "reference: {}", "study.yaml:6: design.reference: expected text, got {}"),
        (
            "name: 2024",
            "name: 1.5",
            "study.yaml:1: name: '1.5' is not a valid name; use letters, digits, '-' and '_'",
        ),
        (
            "name: 2024",
            "name: null\ndescription: null",
            "study.yaml:2: description: expected text, got nothing",
        ),
    ],
)
def test_what_is_no_name_is_refused_at_its_line(write, old: str, new: str, message: str) -> None:
    assert message in errors(write(named_study("0").replace(old, new, 1)))


EMPTY = """\
name: empty
base: mfeat
overrides:
design:
  type: arms
  reference: A
  arms:
    A:
    B: ~
    C: null
    D: {}
datasets:
  a:
seeds: 2
tune:
resources:
table:
"""


def test_a_mapping_that_is_left_empty_is_an_empty_mapping(write) -> None:
    found = errors(write(EMPTY))
    assert [line.partition(" is the same")[0] for line in found] == [
        f"study.yaml:{line}: design.arms.{arm}:" for line, arm in ((9, "B"), (10, "C"), (11, "D"))
    ], "all of them are the base itself"
    text = EMPTY.replace("B: ~", "B: {fusion.type: sum}").replace("    C: null\n    D: {}\n", "")
    plan: Plan = load_plan(write(text))
    assert (plan.arms, plan.datasets, plan.study.table.test) == (["A", "B"], ["a"], "t")
    jsonschema.validate(
        documents.parse(text.partition("tune:")[0], "f").data, build_schema("ablation")
    )


def test_sections_of_a_trial_that_are_left_empty_change_nothing(write) -> None:
    text = EMPTY.replace(
        "overrides:", "overrides: {trainer.epochs: 7, optimizer: {type: adamw, lr: 0.5}}"
    )
    arms = "    A:\n      trainer:\n      optimizer:\n      encoders:\n    B: {fusion.type: sum}\n"
    text = text[: text.index("    A:")] + arms + text[text.index("datasets:") :]
    config = load_plan(write(text)).cells[0].config
    assert (config.trainer.epochs, config.optimizer.type, config.optimizer.lr) == (7, "adamw", 0.5)
    assert (
        load_trial(write("data:\n  type: mfeat\ntrainer:\nencoders:\n  default:\n")).trainer.epochs
        == 40
    )


def test_a_section_that_a_base_leaves_empty_can_be_overridden(write, tmp_path: Path) -> None:
    base = write("data:\n  type: mfeat\ntrainer:\nmethod:\n  bio:\n")
    config = load_trial(base, ["trainer.epochs=3", "method.bio.weight=2"])
    assert (config.trainer.epochs, config.method.bio.weight) == (3, 2)
    (tmp_path / "null.yaml").write_text("data:\n  type: mfeat\ntrainer: null\n")
    with pytest.raises(ConfigError, match=r"'trainer' is a value and has no 'trainer.epochs'"):
        load_trial(tmp_path / "null.yaml", ["trainer.epochs=3"])


def test_what_is_left_empty_and_needs_something_says_what(write) -> None:
    text = "name: x\nbase: mfeat\ndesign: {type: leave_one_out, components: {BIO: }}\n"
    assert errors(write(text)) == [
        "study.yaml:3: design.components.BIO: is too short, it needs at least 1"
    ]
    assert errors(write("name: x\nbase: mfeat\ndesign:\n"))[0].startswith(
        "study.yaml:3: 'design.type' is missing"
    )
    assert errors(write("name: x\nbase: mfeat\ndesign: {type: arms, reference: a, arms: }\n")) == [
        "study.yaml:3: design.arms: is too short, it needs at least 1"
    ]


def test_levels_and_spaces_may_be_left_empty(write) -> None:
    factors = "{F: {a: , b: {fusion.type: sum}}, trainer.epochs: [2, 3]}"
    text = f"name: x\nbase: mfeat\ndesign: {{type: factorial, factors: {factors}}}\n"
    assert len(load_plan(write(text)).arms) == 4
    text = (
        "name: x\nbase: mfeat\ndesign: {type: arms, reference: a, arms: {a: }}\ntune: {space: }\n"
    )
    assert errors(write(text)) == ["study.yaml:4: 'parameters' is missing"]


def test_merged_mappings_are_checked_at_the_lines_where_they_are_written(write) -> None:
    text = """\
name: merged
base: mfeat
design:
  type: arms
  reference: light
  arms:
    light: &light
      method.bio.weight: 0.5
      fusion: &sum {type: sum}
    heavy: {<<: *light, method.bio.weight: 2}
    late: {fusion: {<<: *sum, tpye: late}}
    same: *light
"""
    assert errors(write(text)) == [
        "study.yaml:11: design.arms.late: unknown key 'fusion.tpye'; did you mean 'fusion.type'?",
        "study.yaml:12: design.arms.same: is the same configuration as arm 'light'",
    ]
    plan = load_plan(
        write(
            text.replace("{<<: *sum, tpye: late}", "{<<: *sum}").replace("    same: *light\n", "")
        )
    )
    assert [cell.config.method.bio.weight for cell in plan.cells] == [0.5, 2, 1]
    assert [cell.config.fusion.type for cell in plan.cells] == ["sum", "sum", "sum"]
