"""Studies that share a name: versions, overridden runs, files. Rules: `test_design_changes.py`."""

from __future__ import annotations

from dataclasses import replace

import pytest

import ibml
from ibml.study.ablation import find_job_name
from ibml.study.options import RunOptions
from ibml.study.planning.plan import load_plan
from ibml.study.planning.record import study_record
from ibml.study.planning.trials import build_trials
from ibml.study.planning.versions import DesignChangedError
from tests.conftest import CommandLine
from tests.support.recorded import ablate, record_results, store_of

STUDY = """\
name: small
description: First
base: mfeat
overrides: {trainer.epochs: 2}
design:
  type: arms
  reference: Joint
  arms:
    Joint: {method.type: joint}
    IBML: {}
seeds: 2
table: {metrics: [test.gap]}
"""


@pytest.fixture
def cli(shared_cli: CommandLine) -> CommandLine:
    """Create one store for all tests, because it takes seconds. Each test has its own study."""
    return shared_cli


def listed(cli: CommandLine, name: str) -> list[str]:
    """The lines of `ibml list` that begin with this."""
    lines = [" ".join(line.split()) for line in cli.inside("list").out.splitlines()]
    return sorted(line for line in lines if line.startswith(name))


def run_id(cli: CommandLine, name: str) -> str:
    return next(overview.run_id for overview in store_of(cli).overview() if overview.name == name)


@pytest.mark.slow
def test_another_design_does_not_replace_a_study(cli: CommandLine) -> None:
    other = STUDY.replace("epochs: 2", "epochs: 3").replace("First", "Second")
    assert ablate(cli, STUDY).code == 0
    before, page = (
        cli.inside("table", "small").out,
        store_of(cli).read_artifact(run_id(cli, "small"), "report.html"),
    )
    refused = ablate(cli, other, file="other.yaml")
    assert refused.code == 1
    assert refused.err.startswith(
        "the study 'small' in sqlite:///mlflow.db was run with another design"
    )
    assert "\n  trainer.epochs: 2 -> 3\n" in refused.err
    assert "--new-version to run this as 'small v2'" in refused.err
    dry = cli.inside("ablate", "other.yaml", "--dry-run")
    assert (dry.code, dry.out.split()[1]) == (0, "small"), "after the question"
    assert dry.err.startswith(
        "Note: this run would be refused: the study 'small' in sqlite:///mlflow.db was run with"
    )
    again = cli.inside("ablate", "other.yaml", "--new-version")
    assert again.code == 0, again.err
    assert "This run is recorded as 'small v2'; its table: ibml table 'small v2'" in again.out
    assert cli.inside("table", "small").out == before
    assert store_of(cli).read_artifact(run_id(cli, "small"), "report.html") == page
    assert "Study small v2" in cli.inside("table", "small v2").out
    assert [line.split(" study ")[0] for line in listed(cli, "small")] == ["small", "small v2"]

    # a file is the version that it says
    assert "small v2" in cli.inside("ablate", "other.yaml", "--dry-run").out
    assert cli.inside("table", "other.yaml").out == cli.inside("table", "small v2").out
    assert "reports/small v2/report.html" in cli.inside("report", "other.yaml").out
    cli.write("changed.yaml", STUDY.replace("epochs: 2", "epochs: 5"))
    assert cli.inside("report", "changed.yaml").code == 0
    assert store_of(cli).read_artifact(run_id(cli, "small"), "report.html") == page, (
        "it is not that study's report"
    )

    # Both versions resume without a question.
    for text, name in (
        (STUDY, ""),
        (other, "small v2"),
        (other.replace("seeds: 2", "seeds: 3"), "small v2"),
    ):
        answer = ablate(cli, text)
        assert answer.code == 0, answer.err
        assert (f"recorded as '{name}'" in answer.out) == bool(name)
    assert store_of(cli).study("small v2").seeds == (0, 1, 2)
    assert store_of(cli).study("small").seeds == (0, 1)
    cli.write("third.yaml", STUDY.replace("epochs: 2", "epochs: 4"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cli.folder)
        record_results(cli, load_plan("third.yaml"))
        with pytest.raises(DesignChangedError, match=r"trainer\.epochs: 3 -> 4"):
            ibml.ablate("third.yaml")
        plan, options = load_plan("third.yaml"), RunOptions(store_of(cli).uri)
        with pytest.raises(DesignChangedError):
            find_job_name(plan, options)
        assert find_job_name(plan, replace(options, new_version=True)) == "small v3", (
            "a job is called as its study"
        )
        assert find_job_name(load_plan("other.yaml"), options) == "small v2"
        elsewhere = RunOptions("http://127.0.0.1:1")
        assert find_job_name(load_plan("other.yaml", seeds=1), elsewhere) == "small+seeds=1"
        assert ibml.ablate("third.yaml", new_version=True).table.name == "small v3"
        assert len(ibml.table("small v3")) == 2


@pytest.mark.slow
def test_overridden_runs_leave_the_study_as_it_is(cli: CommandLine) -> None:
    study, name = STUDY.replace("name: small", "name: toy"), "toy+seeds=1+trainer.epochs=3"
    assert ablate(cli, study).code == 0
    before = cli.inside("table", "toy").out
    for options in (
        ("-o", "trainer.epochs=3", "--seeds", "1"),
        ("-o", "seeds=1", "-o", "trainer={epochs: 3}"),
    ):
        answer = ablate(cli, study, *options)
        assert answer.code == 0, answer.err
        assert f"This run is recorded as '{name}'; its table: ibml table {name}\n" in answer.out
    assert cli.inside("table", "toy").out == before
    first, second = listed(cli, "toy")
    assert first.startswith("toy study complete 4 / 4")
    assert second.startswith(f"{name} study complete 2 / 2")
    assert cli.inside("table", name).out.startswith(name)
    assert cli.inside("report", name).out == f"Report: reports/{name}/report.html\n"
    assert (
        f"{name} has fewer than two pairs of test.gap"
        in cli.inside("plan", name, "--detect", "1").err
    )
    assert "trainer.epochs" in cli.inside("compare", f"{name}/IBML", "toy/IBML").out
    same = ablate(cli, study, "-o", "trainer.epochs=2", "--seeds", "2")
    assert "recorded as" not in same.out, "nothing is overridden by what the file says"
    assert len(listed(cli, "toy")) == 2


def test_a_study_without_results_is_replaced_and_says_so(cli: CommandLine) -> None:
    """The user interrupts the study at the beginning to correct its file."""
    first = STUDY.replace("name: small", "name: begun").replace("epochs: 2", "epochs: 7")
    plan = load_plan(cli.write("begun.yaml", first))
    with store_of(cli).open_run("study", study_record(plan, build_trials(plan)), first) as opened:
        while_it_runs = ablate(cli, first.replace("epochs: 7", "epochs: 8"))
        opened.status = "KILLED"
    assert (
        "the study 'begun' in sqlite:///mlflow.db was run with another design" in while_it_runs.err
    )
    answer = ablate(cli, first.replace("epochs: 7", "epochs: 8"))
    assert answer.code == 0, answer.err
    assert "begun: its record has another design" in answer.out
    assert listed(cli, "begun")[0].startswith("begun study complete 4 / 4")


@pytest.mark.slow
def test_the_plain_name_is_free_again_once_its_run_is_deleted(cli: CommandLine) -> None:
    first = STUDY.replace("name: small", "name: freed")
    ablate(cli, first)
    ablate(cli, first.replace("epochs: 2", "epochs: 3"), "--new-version")
    store_of(cli).delete_run(run_id(cli, "freed"))
    answer = ablate(cli, first)
    assert answer.code == 0, answer.err
    assert [line.split(" study ")[0] for line in listed(cli, "freed")] == ["freed", "freed v2"]


@pytest.mark.slow
def test_names_that_differ_in_case_alone_are_said(cli: CommandLine) -> None:
    ablate(cli, STUDY.replace("name: small", "name: Case"))
    answer = ablate(cli, STUDY.replace("name: small", "name: case"))
    assert answer.code == 0, answer.err
    assert "Note: case and the study Case" in answer.out
    assert len(listed(cli, "case")) == len(listed(cli, "Case")) == 1
