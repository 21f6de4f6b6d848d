"""The wrong kind of file for a command: what the file is, and which command takes it."""

from __future__ import annotations

import pytest

from ibml.common.errors import ConfigError
from ibml.common.yaml.documents import read
from ibml.config.loading.file_kinds import SPACE, STUDY, TRIAL, find_kind
from ibml.config.loading.presets import find_presets
from ibml.search.plan import load_search
from ibml.study.planning.plan import load_plan
from tests.conftest import ROOT, CommandLine

STUDY_FILE = (
    "name: mine\nbase: mfeat\ndesign: {type: arms, reference: a, arms: {a: {}}}\nseeds: 2\n"
)
SPACE_FILE = "name: lr\nbase: mfeat\nparameters:\n  optimizer.lr: {low: 0.1, high: 1}\n"
TRIAL_FILE = "data: {type: mfeat}\ntrainer.epochs: 2\n"

A_STUDY = "study.yaml: is a study, not {}; run it with: ibml ablate study.yaml\n"
A_SPACE = "space.yaml: is a search space, not {}; search it with: ibml tune space.yaml\n"
A_TRIAL = "trial.yaml: is a trial's configuration, not {}; train it with: ibml train trial.yaml\n"


@pytest.fixture
def files(cli: CommandLine) -> CommandLine:
    cli.write("study.yaml", STUDY_FILE)
    cli.write("space.yaml", SPACE_FILE)
    cli.write("trial.yaml", TRIAL_FILE)
    return cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "study.yaml"], A_STUDY.format("a trial's configuration")),
        (["train", "space.yaml"], A_SPACE.format("a trial's configuration")),
        (["tune", "study.yaml"], A_STUDY.format("a search space")),
        (["tune", "trial.yaml", "--dry-run"], A_TRIAL.format("a search space")),
        (["ablate", "space.yaml", "--dry-run"], A_SPACE.format("a study")),
        (["ablate", "trial.yaml", "-o", "seeds=3"], A_TRIAL.format("a study")),
        (["data", "check", "study.yaml"], A_STUDY.format("a trial's configuration")),
        (["cluster", "check", "space.yaml"], A_SPACE.format("a study")),
        (["table", "trial.yaml"], A_TRIAL.format("a study")),
        (["report", "trial.yaml"], A_TRIAL.format("a study")),
        (["plan", "trial.yaml", "--detect", "1"], A_TRIAL.format("a study")),
        (["compare", "study.yaml", "trial.yaml"], A_TRIAL.format("a study")),
        (
            ["table", "space.yaml"],
            "space.yaml: is a search space, not a study; see its results with: ibml report lr\n",
        ),
        (
            ["report", "space.yaml"],
            "space.yaml: is a search space, not a study; see its results with: ibml report lr\n",
        ),
        (
            ["show", "study.yaml"],
            "study.yaml: is a study, not a recorded trial's run id or key; see its results with: "
            "ibml table mine\n",
        ),
        (["reproduce", "trial.yaml"], A_TRIAL.format("a recorded trial's run id or key")),
        (
            ["schema", "study.yaml"],
            "schema: 'study.yaml' is a study; its schema is: ibml schema ablation\n",
        ),
        (
            ["schema", "space.yaml"],
            "schema: 'space.yaml' is a search space; its schema is: ibml schema search\n",
        ),
        (["schema", "trail"], "schema: 'trail' is not a kind of file; did you mean 'trial'?\n"),
        (["schema", "study"], "schema: 'study' is not a kind of file; did you mean 'ablation'?\n"),
        (["ablate", "mfeat"], "mfeat: is a preset, not a study; train it with: ibml train mfeat\n"),
        (
            ["tune", "mfeat"],
            "mfeat: is a preset, not a search space; train it with: ibml train mfeat\n",
        ),
        (["ablate", "study"], "study: is not a file; did you mean 'study.yaml'?\n"),
        (
            ["tune", "space.yaml", "--base", "study.yaml"],
            "--base: study.yaml is a study, not a trial's configuration; run it with: ibml ablate "
            "study.yaml\n",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_wrong_file_is_named_with_the_command_that_takes_it(
    files: CommandLine, arguments: list[str], message: str
) -> None:
    answer = files.inside(*arguments)
    assert (answer.code, answer.out, answer.err) == (2, "", message)


def test_wrong_files_inside_a_file_are_named_at_their_line(files: CommandLine) -> None:
    files.write("based.yaml", STUDY_FILE.replace("mfeat", "space.yaml"))
    answer = files.inside("ablate", "based.yaml", "--dry-run")
    assert answer.err.startswith(
        "based.yaml:2: base: space.yaml is a search space, not a trial's configuration"
    )
    files.write("tuned.yaml", f"{STUDY_FILE}tune:\n  space: trial.yaml\n")
    answer = files.inside("ablate", "tuned.yaml", "--dry-run")
    assert answer.err.startswith(
        "tuned.yaml:6: tune.space: trial.yaml is a trial's configuration, not a search space"
    )


def test_a_file_with_blanks_in_its_name_is_quoted(files: CommandLine) -> None:
    files.write("my study.yaml", STUDY_FILE)
    assert files.inside("train", "my study.yaml").err.endswith(
        "run it with: ibml ablate 'my study.yaml'\n"
    )


def test_a_file_without_its_ending_is_suggested_wherever_it_is(files: CommandLine) -> None:
    path = files.folder / "study"
    assert (
        files.inside("ablate", str(path)).err
        == f"{path}: is not a file; did you mean '{path}.yaml'?\n"
    )


def test_mappings_of_the_wrong_kind_are_refused_too() -> None:
    with pytest.raises(ConfigError, match=r"^ablation: is a search space, not a study$"):
        load_plan({"name": "x", "parameters": {}})
    with pytest.raises(ConfigError, match=r"^search: is a study, not a search space$"):
        load_search({"name": "x", "design": {}})


def test_a_file_that_lacks_something_is_still_of_its_kind(files: CommandLine) -> None:
    files.write("study.yaml", STUDY_FILE.replace("design", "desing"))
    assert (
        files.inside("ablate", "study.yaml")
        .err.splitlines()[-1]
        .endswith("'desing'; did you mean 'design'?")
    )
    files.write("space.yaml", "name: x\nbase: mfeat\n")
    assert files.inside("tune", "space.yaml").err == "space.yaml: 'parameters' is missing\n"


def test_every_shipped_file_is_of_its_kind() -> None:
    kinds = {"ablations": STUDY, "search_spaces": SPACE}
    for folder, kind in kinds.items():
        assert {id(find_kind(read(path).data)) for path in (ROOT / folder).rglob("*.yaml")} == {
            id(kind)
        }
    assert {id(find_kind(read(path).data)) for path in find_presets().values()} == {id(TRIAL)}


@pytest.mark.parametrize(
    "arguments",
    [
        ["table", "x", "--format", "xyz"],
        ["plan", "x", "--detect", "abc"],
        ["ablate", "x", "--seeds", "abc"],
        ["tune", "x", "--repeats", "0"],
        ["data", "prepare", "xyz", "--from", "a", "--root", "b"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_refused_in_plain_words(cli: CommandLine, arguments: list[str]) -> None:
    answer = cli.inside(*arguments)
    assert answer.code == 2
    assert "Error: Invalid value for" in answer.err
    assert "Value error" not in answer.err
    assert "Input should" not in answer.err
