"""Trials that share epochs, with Ray and MLflow: the same numbers as alone, and less to train."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import CommandLine
from tests.support.recorded import metrics, trials

pytestmark = pytest.mark.slow

STUDY = """\
name: late
base: mfeat
overrides: {trainer.epochs: 12}
design:
  type: one_factor
  factors:
    method.bio.weight: [0.5, 1]
    method.window.first_epoch: [4, 8]
    trainer.epochs: [12, 16]
seeds: 2
table: {metrics: [test.accuracy, test.gap]}
"""
LATE = ("-o", "method.window.first_epoch=8")
ALONE, ONCE = 2 * (3 * 12 + 16), 2 * (12 + 4 + 8 + 4)


def shared(cli: CommandLine) -> int:
    return sum(int(run.data.tags.get("ibml.shared", 0)) for run in trials(cli))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, CommandLine, str]:
    """The study with and without sharing, and what the first said."""
    sharing, alone = (CommandLine(tmp_path_factory.mktemp(name)) for name in ("sharing", "alone"))
    for cli in (sharing, alone):
        cli.write("late.yaml", STUDY)
    said = sharing.study("ablate", "late.yaml", *LATE)
    assert said.code == 0, said.err
    other = alone.study("ablate", "late.yaml", *LATE, "--no-share")
    assert other.code == 0, other.err
    assert "Prefix sharing saved" not in other.out
    return sharing, alone, said.out


def test_the_numbers_are_those_of_training_alone(
    both: tuple[CommandLine, CommandLine, str],
) -> None:
    sharing, alone, _ = both
    assert metrics(sharing) == metrics(alone)
    assert shared(alone) == 0
    assert not list(alone.folder.glob("checkpoints/*/stages"))
    name = "late+method.window.first_epoch=8"
    tables = [cli.inside("table", name, "--format", "csv").out for cli in (sharing, alone)]
    assert tables[0].count("\n") > 1
    assert tables[0] == tables[1]


def test_what_is_shared_is_said_before_and_after(
    both: tuple[CommandLine, CommandLine, str],
) -> None:
    cli, _, said = both
    assert f"Prefix sharing saved {ALONE - ONCE} epochs" in said
    assert shared(cli) == ALONE - ONCE
    before = cli.inside("ablate", "late.yaml", *LATE, "--dry-run").out
    assert f"{ALONE} epochs; a trial takes" in before
    assert f"With prefix sharing: {ONCE} epochs, {ONCE / ALONE:.0%} of the epochs" in before
    for option in (("--no-share",), ("--stage-gb", "0")):
        assert (
            "With prefix sharing"
            not in cli.inside("ablate", "late.yaml", *LATE, "--dry-run", *option).out
        )


def test_a_trial_that_shared_is_reproduced_alone(
    both: tuple[CommandLine, CommandLine, str],
) -> None:
    cli, _, _ = both
    run = next(run for run in trials(cli) if run.data.tags.get("ibml.shared"))
    answer = cli.inside("reproduce", run.info.run_id)
    assert answer.code == 0, answer.out + answer.err


def test_an_arm_that_is_added_later_goes_on_from_what_is_there(
    both: tuple[CommandLine, CommandLine, str],
) -> None:
    cli, _, _ = both
    before = shared(cli)
    cli.write(
        "more.yaml", STUDY.replace("[0.5, 1]", "[0.5, 1, 3]").replace("name: late", "name: more")
    )
    answer = cli.study("ablate", "more.yaml", *LATE)
    assert answer.code == 0, answer.err
    assert shared(cli) == before + 2 * 8


def test_damaged_states_are_named_and_trained_again(
    both: tuple[CommandLine, CommandLine, str],
) -> None:
    cli, alone, _ = both
    for state in cli.folder.glob("checkpoints/*/stages/*"):
        state.write_bytes(state.read_bytes()[:-1])
    cli.write(
        "weight.yaml", STUDY.replace("name: late", "name: weight").replace("[0.5, 1]", "[1, 2]")
    )
    answer = cli.study("ablate", "weight.yaml", *LATE)
    assert answer.code == 0, answer.err
    assert "skipped and removed a checkpoint" in answer.out
    expected, found = metrics(alone), metrics(cli)
    assert {key: found[key] for key in expected} == expected


def test_states_go_with_gc(both: tuple[CommandLine, CommandLine, str]) -> None:
    cli, _, _ = both
    state = next(
        iter(cli.folder.glob("checkpoints/*/stages/000012-*.ckpt"))
    )  # which no other test here begins from
    assert state.name in cli.inside("gc", "--dry-run").out
    assert state.exists()
    cli.inside("gc")
    assert not state.exists()


def test_little_room_costs_epochs_and_no_results(
    both: tuple[CommandLine, CommandLine, str], cli: CommandLine
) -> None:
    cli.write("late.yaml", STUDY)
    answer = cli.study("ablate", "late.yaml", *LATE, "--stage-gb", "0.000001")
    assert answer.code == 0, answer.err
    assert metrics(cli) == metrics(both[1])
    assert shared(cli) < ALONE - ONCE
    assert not list(cli.folder.glob("checkpoints/*/stages/*"))


@pytest.mark.parametrize("command", [("ablate", "late.yaml"), ("tune", "space.yaml")])
def test_room_below_nothing_is_refused(cli: CommandLine, command: tuple[str, str]) -> None:
    answer = cli.inside(*command, "--stage-gb", "-1")
    assert answer.code == 2
    assert re.search(r"'--stage-gb'.* greater than or equal to 0", answer.err)


def test_a_search_of_schedules_uses_states(cli: CommandLine, tmp_path: Path) -> None:
    space = {
        "name": "windows",
        "base": "mfeat",
        "overrides": {"trainer.epochs": 10},
        "parameters": {"method.window.first_epoch": {"low": 4, "high": 8}},
        "sampler": {"type": "random"},
        "trials": 8,
    }
    cli.write("windows.yaml", json.dumps(space))
    answer = cli.study("tune", "windows.yaml")
    assert answer.code == 0, answer.err
    numbers = metrics(cli)
    epochs = shared(cli)
    assert epochs >= 12
    assert f"Prefix sharing saved {epochs} epochs" in answer.out
    alone = CommandLine(tmp_path)
    alone.write("windows.yaml", json.dumps(space))
    assert alone.study("tune", "windows.yaml", "--no-share").code == 0
    assert metrics(alone) == numbers
