"""`ibml tune` and tuned ablations for real: Ray, MLflow, Optuna's database, the embedded data."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import yaml
from mlflow import MlflowClient

from ibml.config.trial import TrialConfig
from ibml.search.plan import FIRST_SEED
from ibml.training.trainer import train
from tests.conftest import Answer, CommandLine

SPACE = """
name: demo
description: A search that ends soon
base: mfeat
overrides: {trainer.epochs: 6}
parameters:
  optimizer.lr: {low: 1.0e-3, high: 1.0e-1, log: true}
  fusion.type: {choices: [sum, film]}
  fusion.condition: {choices: [first, last], when: {fusion.type: film}}
  method.window: {choices: [{first_epoch: 1}, {first_epoch: 1, stop_epoch: 3}]}
sampler: {type: tpe, startup_trials: 3}
scheduler: {type: asha, grace_epochs: 2, reduction_factor: 2}
trials: 9
concurrency: 1
"""
TUNED = """
name: tuned
base: mfeat
overrides: {trainer.epochs: 3}
design:
  type: arms
  reference: Joint
  arms:
    Joint: {method.type: joint}
    + BIO: {method.bio.weight: 1, method.tcm.rate: 0}
    Plain: {method.type: joint, optimizer.lr: 0.02, optimizer.momentum: 0.5}
seeds: 2
tune:
  space:
    parameters:
      optimizer.lr: {low: 1.0e-3, high: 1.0e-1, log: true}
      method.bio.weight: {low: 0, high: 4}
      method.bio.ramp: {choices: [constant, cosine], when: {method.bio.weight: {low: 0.5}}}
      optimizer.momentum: {choices: [0.0, 0.9]}
    sampler: {type: random}
  trials: 3
"""


def client(cli: CommandLine) -> MlflowClient:
    return MlflowClient(f"sqlite:///{cli.folder / 'mlflow.db'}")


def runs(cli: CommandLine, kind: str) -> list:
    store = client(cli)
    experiment = store.get_experiment_by_name("ibml")
    return store.search_runs(
        [experiment.experiment_id], f"tags.`ibml.kind` = '{kind}'", max_results=1000
    )


def study(cli: CommandLine, name: str = "demo") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{cli.folder / 'optuna.db'}")


def outline(cli: CommandLine, name: str = "demo") -> list[tuple[object, ...]]:
    return [
        (t.number, t.state, t.params, t.values, t.intermediate_values)
        for t in study(cli, name).trials
    ]


@pytest.fixture(scope="module")
def searched(shared_cli: CommandLine) -> tuple[CommandLine, Answer]:
    shared_cli.write("demo.yaml", SPACE)
    answer = shared_cli.study("tune", "demo.yaml")
    assert answer.code == 0, answer.err
    return shared_cli, answer


@pytest.mark.slow
def test_a_search_ends_with_its_best_configuration(searched: tuple[CommandLine, Answer]) -> None:
    cli, answer = searched
    best = study(cli).best_trial
    assert "9 of 9 trials" in answer.out
    assert f"Best: trial {best.number}, val.accuracy {100 * best.value:.4g} %" in answer.out
    preset = cli.folder / "reports" / "demo" / "best.yaml"
    config = TrialConfig.model_validate({**yaml.safe_load(preset.read_text()), "seed": FIRST_SEED})
    again = train(config)
    assert again.metrics["selected.val.accuracy"] == best.value
    assert cli.inside("train", str(preset), "-o", "trainer.epochs=4").code == 0


@pytest.mark.slow
def test_optuna_reads_the_truth(searched: tuple[CommandLine, Answer]) -> None:
    trials = study(searched[0]).trials
    states = [t.state.name for t in trials]
    assert set(states) == {"COMPLETE", "PRUNED"}
    for trial in trials:
        steps = list(trial.intermediate_values)
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) == 6 if trial.state.name == "COMPLETE" else len(steps) in (2, 4)
        assert ("fusion.condition" in trial.params) == (trial.params["fusion.type"] == "film")


@pytest.mark.slow
def test_mlflow_has_a_parent_and_a_child_per_trial_with_the_same_numbers(
    searched: tuple[CommandLine, Answer],
) -> None:
    cli, _ = searched
    (parent,) = runs(cli, "search")
    children = {
        int(run.data.tags["ibml.trial"]): run
        for run in runs(cli, "trial")
        if "ibml.search" in run.data.tags
    }
    assert parent.info.status == "FINISHED"
    assert sorted(children) == list(range(9))
    for trial in study(cli).trials:
        run = children[trial.number]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        history = client(cli).get_metric_history(run.info.run_id, "val.accuracy")
        assert [m.step for m in history] == list(range(len(trial.intermediate_values)))
        assert max(m.value for m in history) == list(trial.intermediate_values.values())[-1]
        pruned = trial.state.name == "PRUNED"
        assert run.data.tags["ibml.status"] == ("pruned" if pruned else "finished")
        assert run.info.status == ("KILLED" if pruned else "FINISHED")
        assert pruned or run.data.metrics["selected.val.accuracy"] == trial.value
        assert ("by asha" in run.data.tags["ibml.reason"]) == pruned
        assert ("fusion.condition" in run.data.params) == (trial.params["fusion.type"] == "film")
    names = {file.path for file in client(cli).list_artifacts(parent.info.run_id)}
    assert {
        "search.yaml",
        "search.json",
        "best.yaml",
        "report.md",
        "trials.csv",
        "history.png",
    } <= names


@pytest.mark.slow
def test_the_same_command_again_trains_nothing_and_says_the_same(
    searched: tuple[CommandLine, Answer],
) -> None:
    cli, answer = searched
    before = len(runs(cli, "trial"))
    again = cli.inside("tune", "demo.yaml")
    assert again.code == 0
    assert again.out.splitlines()[-12:] == answer.out.splitlines()[-12:]
    assert len(runs(cli, "trial")) == before
    page = cli.folder / "reports" / "demo" / "report.md"
    text = page.read_text()
    page.unlink()
    assert cli.inside("report", "demo").code == 0
    assert page.read_text() == text


@pytest.mark.slow
def test_another_space_under_the_same_name_is_refused(searched: tuple[CommandLine, Answer]) -> None:
    cli, _ = searched
    answer = cli.inside("tune", "demo.yaml", "-o", "parameters.optimizer.lr.high=0.5")
    assert answer.code == 1
    assert "parameters.optimizer.lr.high: 0.1 -> 0.5" in answer.err
    assert "no search is called 'nothing'" in cli.inside("report", "nothing").err


@pytest.mark.slow
def test_optuna_dashboard_serves_the_study(searched: tuple[CommandLine, Answer]) -> None:
    cli, _ = searched
    url = f"sqlite:///{cli.folder / 'optuna.db'}"
    command = [str(Path(sys.executable).parent / "optuna-dashboard"), url, "--port", "18097"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(
                    "http://127.0.0.1:18097/api/studies", timeout=5
                ) as answer:
                    assert '"demo"' in answer.read().decode()
                    return
            except OSError:
                assert time.monotonic() < deadline, "the dashboard did not answer"
                time.sleep(0.3)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.ray
def test_a_killed_search_goes_on_to_the_same_trials(
    cli: CommandLine, searched: tuple[CommandLine, Answer]
) -> None:
    cli.write("demo.yaml", SPACE)
    process = cli.start("tune", "demo.yaml")
    _wait_for(lambda: _begun(cli) >= 4)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    answer = cli("tune", "demo.yaml")
    assert answer.code == 0, answer.err
    assert outline(cli) == outline(searched[0])
    keys = [run.data.tags["ibml.key"] for run in runs(cli, "trial")]
    assert len(keys) == len(set(keys)) == 9
    assert {run.info.status for kind in ("trial", "search") for run in runs(cli, kind)} <= {
        "FINISHED",
        "KILLED",
    }


def _begun(cli: CommandLine) -> int:
    """Count the trials in the database, without Optuna, which would create its tables."""
    try:
        with closing(sqlite3.connect(f"file:{cli.folder}/optuna.db?mode=ro", uri=True)) as database:
            return int(database.execute("select count(*) from trials").fetchone()[0])
    except sqlite3.Error:
        return 0  # it is just being made


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_every_arm_is_tuned_alike_and_evaluated_on_fresh_seeds(cli: CommandLine) -> None:
    cli.write("tuned.yaml", TUNED)
    shown = " ".join(cli.inside("ablate", "tuned.yaml", "--dry-run").out.split())
    assert "Not searched in Joint: method.bio.weight, method.bio.ramp" in shown
    answer = cli.study("ablate", "tuned.yaml")
    assert answer.code == 0, answer.err
    foot = " ".join(answer.out.split())
    assert "Tuning: 3 trials for each arm, sampler random (seed 0)" in foot
    assert "Trained: Joint 3 (9 epochs), + BIO 3 (9 epochs). Nothing to tune in Plain." in foot
    trials = [run.data.tags for run in runs(cli, "trial")]
    tuning = [tags for tags in trials if "ibml.search" in tags]
    evaluation = [tags for tags in trials if "ibml.study" in tags]
    assert len(tuning) == 6
    assert len(evaluation) == 6
    assert {tags["ibml.seed"] for tags in tuning} == {str(FIRST_SEED)}
    assert {tags["ibml.seed"] for tags in evaluation} == {"0", "1"}
    best = study(cli, "tuned/+ BIO").best_trial
    assert set(best.params) == {"optimizer.lr", "optimizer.momentum", "method.bio.ramp"}
    chosen = [run for run in runs(cli, "trial") if run.data.tags.get("ibml.arm") == "+ BIO"]
    assert {float(run.data.params["optimizer.lr"]) for run in chosen} == {
        best.params["optimizer.lr"]
    }
    assert {float(run.data.params["method.bio.weight"]) for run in chosen} == {1.0}
    table = cli.inside("table", "tuned", "--tuning", "--format", "csv").out
    assert f"tuned/+ BIO,3,9,val.accuracy,{best.value}" in table
    assert "nothing to tune" in cli.inside("table", "tuned.yaml", "--tuning").out
    again = cli.study("ablate", "tuned.yaml")
    assert (
        again.out.split("Results: MLflow")[0].splitlines()[-8:]
        == answer.out.split("Results: MLflow")[0].splitlines()[-8:]
    )
    assert len(runs(cli, "trial")) == len(trials)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            [
                "--base",
                "mfeat",
                "-o",
                "sampler.type=random",
                "--compare",
                "random",
                "-o",
                "scheduler.type=none",
            ],
            2,
            "--compare random",
        ),
        (["--storage", "sqlite:////nowhere/optuna.db"], 1, "unable to open database file"),
        (["-o", "start_from=[{search: nothing}]"], 1, "no search is called 'nothing'"),
        (["--repeats", "0"], 2, "repeats"),
        (["--base", "nothing"], 2, "no preset is called 'nothing'"),
    ],
)
def test_a_search_that_cannot_be_run_is_refused(
    cli: CommandLine, arguments: list[str], code: int, words: str
) -> None:
    cli.write("demo.yaml", SPACE)
    answer = cli.inside("tune", "demo.yaml", *arguments)
    assert answer.code == code
    assert words in answer.err
    assert "Traceback" not in answer.err
