"""The commands that read results, on the store of a real study."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from mlflow import MlflowClient

from tests.conftest import CommandLine, free_port

STUDY = """\
name: small
description: Does it work?
base: mfeat
overrides: {trainer.epochs: 2}
design:
  type: leave_one_out
  components: {BIO: {method.bio.weight: 0}}
seeds: 3
table: {metrics: [test.accuracy, test.gap], names: {w/o BIO: Joint}}
"""


@pytest.fixture(scope="module")
def cli(shared_cli: CommandLine) -> CommandLine:
    """A folder in which the study was run once."""
    done = shared_cli.study("ablate", str(shared_cli.write("small.yaml", STUDY)))
    assert done.code == 0, done.err
    return shared_cli


def client(cli: CommandLine) -> MlflowClient:
    return MlflowClient(f"sqlite:///{cli.folder}/mlflow.db")


def trials(cli: CommandLine) -> list:
    store = client(cli)
    experiment = store.get_experiment_by_name("ibml").experiment_id
    return store.search_runs(
        [experiment], "tags.`ibml.kind` = 'trial'", order_by=["attributes.start_time ASC"]
    )


def test_the_report_is_in_the_studys_run(cli: CommandLine) -> None:
    store = client(cli)
    experiment = store.get_experiment_by_name("ibml").experiment_id
    (run,) = store.search_runs([experiment], "tags.`ibml.kind` = 'study'")
    names = {file.path for file in store.list_artifacts(run.info.run_id)}
    assert {
        "report.html",
        "table.md",
        "table.tex",
        "table.html",
        "study.json",
        "study.yaml",
    } <= names
    answer = cli.inside("report", "small")
    assert answer.code == 0, answer.err
    assert "Report: reports/small/report.html" in answer.out
    figures = {path.name for path in (cli.folder / "reports/small/figures").iterdir()}
    assert {"forest-test.accuracy.png", "forest-test.accuracy.pdf", "curves.png"} <= figures
    assert any(file.path == "figures" for file in store.list_artifacts(run.info.run_id))


@pytest.mark.slow
def test_the_page_may_be_written_alone(cli: CommandLine) -> None:
    answer = cli.inside("report", "small.yaml", "-o", "deep/page.html")
    assert answer.code == 0, answer.err
    assert [path.name for path in (cli.folder / "deep").iterdir()] == ["page.html"]
    page = (cli.folder / "deep/page.html").read_text()
    assert "Does it work?" in page
    assert f"/runs/{trials(cli)[0].info.run_id}" in page


def test_the_list_has_the_study(cli: CommandLine) -> None:
    line = next(line for line in cli.inside("list").out.splitlines() if "small" in line)
    assert re.search(r"small\s+study\s+complete\s+6 / 6\s+\d+ (s|min)\s+Does it work\?", line)


def test_a_trial_is_shown_by_the_beginning_of_its_id(cli: CommandLine) -> None:
    run = trials(cli)[0]
    shown = cli.inside("show", run.info.run_id[:12]).out
    assert f"key {run.data.tags['ibml.key']}" in shown
    assert "epochs.csv" in shown
    assert re.search(r"val\.accuracy\s", shown)
    missing = cli.inside("show", "zzzz")
    assert (missing.code, missing.out) == (1, "")
    assert (
        "no trial in sqlite:///mlflow.db has a run id or key that begins with 'zzzz'" in missing.err
    )


def test_arms_are_compared(cli: CommandLine) -> None:
    shown = cli.inside("compare", "small/full", "small/w/o BIO").out
    assert re.search(r"method\.bio\.weight\s+1\.0\s+0\.0", shown)
    assert "test.gap %" in shown
    wrong = cli.inside("compare", "small/ful", "small/full")
    assert "small has no arm 'ful'; did you mean 'full'?" in wrong.err


def test_seeds_are_planned_from_what_was_run(cli: CommandLine) -> None:
    shown = cli.inside("plan", "small", "--detect", "0.5", "--metric", "test.gap")
    assert shown.code == 0, shown.err
    assert "small: seeds to detect a difference of 0.5 points in test.gap" in shown.out
    assert re.search(r"--seeds\s+\d+", shown.out)
    assert "above 0, got -1" in cli.inside("plan", "small", "--detect", "-1").err


def test_a_dry_run_estimates_the_time_from_past_trials(cli: CommandLine) -> None:
    shown = " ".join(cli.inside("ablate", "small.yaml", "--dry-run", "--seeds", "9").out.split())
    assert "Estimate from 6 past trials of the same shape" in shown
    assert re.search(r"\d+ s of training, \d+ s with \d+ at once on this machine\.", shown)
    other = " ".join(
        cli.inside("ablate", "small.yaml", "--dry-run", "-o", "fusion.type=sum").out.split()
    )
    assert "Estimate" not in other


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "6 of 6 trials have a result already; left to train: nothing."),
        (
            ["--seeds", "9"],
            "6 of 18 trials have a result already; left to train: 12 with 24 epochs.",
        ),
        (
            ["-o", "seeds=[2, 7]"],
            "2 of 4 trials have a result already; left to train: 2 with 4 epochs.",
        ),
        (
            ["-o", "fusion.type=sum"],
            "0 of 6 trials have a result already; left to train: 6 with 12 epochs.",
        ),
        (["--rerun"], "6 of 6 trials have a result already and would be trained again (--rerun)."),
        # two looks could be made, and they have decided whatever is decided: nothing, or an arm
        (["-o", "seeds={min: 2, max: 4}"], "6 of 8 trials have a result already; left to train: "),
    ],
)
def test_a_dry_run_counts_the_results_that_there_are(
    cli: CommandLine, options: list[str], said: str
) -> None:
    shown = cli.inside("ablate", "small.yaml", "--dry-run", *options)
    assert shown.code == 0, shown.err
    assert said in " ".join(shown.out.split())


def test_a_dry_run_takes_no_result_of_a_deleted_run(cli: CommandLine) -> None:
    store, run = client(cli), trials(cli)[0]
    store.delete_run(run.info.run_id)
    try:
        assert (
            "5 of 6 trials have a result already"
            in cli.inside("ablate", "small.yaml", "--dry-run").out
        )
    finally:
        store.restore_run(run.info.run_id)


def test_a_dry_run_changes_no_store_and_says_where_it_cannot_be_read(cli: CommandLine) -> None:
    def said(name: str, *options: str) -> str:
        uri = name if "://" in name else f"sqlite:///{cli.folder / name}"
        answer = cli.inside("ablate", "small.yaml", "--dry-run", "--tracking-uri", uri, *options)
        assert answer.code == 0, answer.err
        return " ".join(answer.out.split())

    assert "0 of 6 trials have a result already" in said("none.db")
    assert not (cli.folder / "none.db").exists()
    (cli.folder / "empty.db").touch()
    assert "0 of 6 trials have a result already" in said("empty.db")
    assert (cli.folder / "empty.db").read_bytes() == b""
    with closing(sqlite3.connect(cli.folder / "other.db")) as database:
        database.execute("create table experiments (experiment_id integer)")
    before = (cli.folder / "other.db").read_bytes()
    assert (
        "other.db cannot be read as it is; the number of trials with a result is not known."
        in said("other.db")
    )
    assert (cli.folder / "other.db").read_bytes() == before
    known = (cli.folder / "mlflow.db").read_bytes()
    assert "6 of 6 trials have a result already" in said("mlflow.db")
    assert (cli.folder / "mlflow.db").read_bytes() == known
    away = said(f"http://127.0.0.1:{free_port()}")
    assert "MLflow at http://127.0.0.1" in away
    assert "the number of trials with a result is not known." in away


@pytest.mark.slow
def test_results_of_another_revision_are_refused_until_allowed(cli: CommandLine) -> None:
    run = trials(cli)[0]
    before = cli.inside("table", "small").out
    store, revision = client(cli), run.data.tags["ibml.revision"]
    store.set_tag(run.info.run_id, "ibml.revision", "0.0.9")
    try:
        for command in (("table", "small"), ("ablate", "small.yaml"), ("report", "small")):
            refused = cli.inside(*command)
            assert refused.code == 1
            assert (
                f"small mixes 2 code revisions: 0.0.9 (1 result), {revision} (5 results)"
                in refused.err
            )
            assert "--allow-mixed" in refused.err
        allowed = cli.inside("table", "small", "--allow-mixed")
        assert "MIXED: 2 code revisions" in allowed.out
        assert cli.inside("ablate", "small.yaml", "--allow-mixed").code == 0
    finally:
        store.set_tag(run.info.run_id, "ibml.revision", revision)
    assert cli.inside("table", "small").out == before


def test_what_is_not_there_is_said(cli: CommandLine) -> None:
    for command in (
        ("table", "smal"),
        ("plan", "smal", "--detect", "1"),
        ("compare", "smal", "small"),
    ):
        answer = cli.inside(*command)
        assert answer.code == 1
        assert "'smal'" in answer.err
        assert answer.err.endswith(" small\n")
    neither = cli.inside("report", "smal")
    assert neither.err.count("\n") == 1
    assert "'smal'" in neither.err
    assert neither.err.endswith(" small\n")
