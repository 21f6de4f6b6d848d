"""Studies for real: the command line, Ray, MLflow with SQLite, the embedded data."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import ibml
from ibml.study.planning.plan import load_plan
from ibml.study.planning.trials import build_trials
from ibml.tracking.store.mlflow_store import MlflowStore
from tests.conftest import Answer, CommandLine
from tests.support.ray_cluster import RayCluster
from tests.support.waiting import wait_for_epochs

STUDY = """\
name: small
description: Does BIO help?
base: mfeat
overrides: {trainer.epochs: 3}
design:
  type: arms
  reference: Joint
  arms:
    Joint: {method.type: joint}
    IBML: {}
seeds: 2
"""


def store_of(cli: CommandLine) -> MlflowStore:
    return MlflowStore(f"sqlite:///{cli.folder}/mlflow.db")


def query(cli: CommandLine, sql: str) -> list[tuple]:
    connection = sqlite3.connect(cli.folder / "mlflow.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def on_ray(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test of the study that is run once on Ray."""
    return pytest.mark.slow(pytest.mark.ray(test))


@pytest.fixture(scope="module")
def finished(shared_cli: CommandLine) -> tuple[CommandLine, Answer]:
    """The small study, run once: a process that creates the store, on Ray."""
    shared_cli.write("small.yaml", STUDY)
    shared_cli.copies_store = False
    return shared_cli, shared_cli("ablate", "small.yaml")


@on_ray
def test_the_command_shows_progress_a_table_and_the_way_on(
    finished: tuple[CommandLine, Answer],
) -> None:
    _, answer = finished
    assert answer.code == 0, answer.err
    assert "4 / 4 trials done · 0 running · 0 failed" in answer.out
    assert re.search(r"IBML\s+2\s+\d\d\.\d\d ± \d+\.\d\d", answer.out)
    assert "difference to Joint" in answer.out
    assert "ibml ui" in answer.out
    assert answer.err == "", "Ray's or MLflow's noise reached the terminal"


@on_ray
def test_mlflow_has_one_parent_and_a_child_per_trial(finished: tuple[CommandLine, Answer]) -> None:
    cli, _ = finished
    client = store_of(cli).client
    runs = client.search_runs([store_of(cli).experiment_id])
    parents = [run for run in runs if run.data.tags["ibml.kind"] == "study"]
    children = [run for run in runs if run.data.tags["ibml.kind"] == "trial"]
    assert len(parents) == 1
    assert sorted(run.info.run_name for run in children) == sorted(
        f"{arm} · seed {seed}" for arm in ("Joint", "IBML") for seed in (0, 1)
    )
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    ibml_run = next(run for run in children if run.info.run_name == "IBML · seed 1")
    assert ibml_run.data.params["method.bio.weight"] == "1.0"
    assert (ibml_run.data.params["arm"], ibml_run.data.params["seed"]) == ("IBML", "1")
    assert (
        "method.bio.weight"
        not in next(r for r in children if r.info.run_name == "Joint · seed 1").data.params
    )
    keys = {trial.key for trial in build_trials(load_plan(cli.folder / "small.yaml"))}
    assert {run.data.tags["ibml.key"] for run in children} == keys
    assert all(run.data.tags["ibml.data"] and run.data.tags["ibml.revision"] for run in children)
    artifacts = {a.path for a in client.list_artifacts(parents[0].info.run_id)}
    tables = {f"table.{extension}" for extension in ("txt", "md", "tex", "csv", "json", "html")}
    assert artifacts == {"study.yaml", "study.json", "report.html", *tables}
    assert [a.path for a in client.list_artifacts(ibml_run.info.run_id)] == [
        "config.yaml",
        "epochs.csv",
    ]


@on_ray
def test_every_epoch_is_logged_once_under_stable_names(
    finished: tuple[CommandLine, Answer],
) -> None:
    cli, _ = finished
    rows = query(
        cli, "select run_uuid, key, step, count(*) from metrics group by run_uuid, key, step"
    )
    assert {count for *_, count in rows} == {1}
    per_epoch = {
        key for _, key, step, _ in rows if step == 0 and not key.startswith(("test", "selected"))
    }
    assert per_epoch >= {
        *("train.loss", "train.accuracy", "train.accuracy.pix", "train.accuracy.zer"),
        *(
            "val.loss",
            "val.accuracy",
            "val.macro_f1",
            "val.accuracy.pix",
            "val.accuracy.zer",
            "val.gap",
        ),
        *("rate.pix", "rate.zer", "noised.pix", "noised.zer", "lr", "time.epoch"),
    }
    assert {step for _, key, step, _ in rows if key == "val.accuracy"} == {0, 1, 2}
    assert {step for _, key, step, _ in rows if key == "test.accuracy"} == {2}


@on_ray
def test_trials_on_ray_equal_trials_in_this_process_bit_for_bit(
    finished: tuple[CommandLine, Answer],
) -> None:
    cli, _ = finished
    results = store_of(cli).results()
    for trial in build_trials(load_plan(cli.folder / "small.yaml")):
        alone = ibml.train(trial.config)
        stored = results[trial.key].metrics
        for name, value in {**alone.history[-1], **alone.metrics}.items():
            if name != "epoch" and not name.startswith("time."):
                assert stored[name] == value, (trial.name, name)


@on_ray
def test_the_same_command_again_runs_nothing_and_prints_the_same(
    finished: tuple[CommandLine, Answer],
) -> None:
    cli, first = finished
    before = query(cli, "select run_uuid from runs")
    again = cli.inside("ablate", "small.yaml")
    assert again.code == 0
    assert "4 of 4 trials have a result already and are not run again." in again.out
    assert query(cli, "select run_uuid from runs") == before
    assert table_of(again) == table_of(first)


@on_ray
def test_another_study_reuses_the_trials_that_it_shares(
    finished: tuple[CommandLine, Answer],
) -> None:
    cli, _ = finished
    cli.write(
        "other.yaml",
        STUDY.replace("small", "other").replace("IBML: {}", "BIO: {method.tcm.rate: 0}"),
    )
    answer = cli.study("ablate", "other.yaml", "--seeds", "3")
    assert answer.code == 0, answer.err
    assert "2 of 6 trials have a result already" in answer.out
    assert (
        len(
            query(
                cli, "select 1 from tags where key = 'ibml.study.other/seeds:3' and value = 'Joint'"
            )
        )
        == 3
    )
    assert ibml.table("other+seeds=3", f"sqlite:///{cli.folder}/mlflow.db")["n"].tolist() == [3] * 8
    # The table of the first study is unchanged.
    assert len(ibml.table("small", f"sqlite:///{cli.folder}/mlflow.db")) == 8


@on_ray
def test_tables_come_from_mlflow_by_name_or_file(finished: tuple[CommandLine, Answer]) -> None:
    cli, _ = finished
    frame = ibml.table("small", f"sqlite:///{cli.folder}/mlflow.db")
    stored = json.loads(cli.inside("table", "small", "--format", "json").out)
    assert [row["mean"] for row in stored["rows"]] == frame["mean"].tolist()
    by_file, by_name = (
        cli.inside("table", name, "--format", "csv").out for name in ("small.yaml", "small")
    )
    assert by_file == by_name
    csv = pd.read_csv(
        cli.folder / "mlruns" / "ibml" / parent_id(cli, "small") / "artifacts" / "table.csv"
    )
    assert csv["mean"].tolist() == frame["mean"].tolist()
    answer = cli.inside("table", "smal")
    assert answer.code == 1
    assert "no study is called 'smal'" in answer.err


def parent_id(cli: CommandLine, study: str) -> str:
    return query(cli, f"select run_uuid from runs where name = '{study}'")[0][0]


def table_of(answer: Answer) -> str:
    """The printed table, without the progress before it."""
    return answer.out[answer.out.index("\n arm") : answer.out.index("Results: MLflow run")]


@pytest.mark.slow
def test_a_failing_and_a_diverging_arm_do_not_stop_the_study(cli: CommandLine) -> None:
    huge = "Huge: {encoders.default.hidden: [1000000000]}"
    arms = f"IBML: {{}}\n    {huge}\n    Wild: {{optimizer.lr: 1.0e+30}}"
    cli.write("fail.yaml", STUDY.replace("IBML: {}", arms).replace("small", "fail"))
    answer = cli.study("ablate", "fail.yaml")
    assert answer.code == 1
    assert "Failed: 2 of 8 trials (Huge 2); for instance RuntimeError" in answer.out
    assert "Diverged: 2 of 8 trials (Wild 2)" in answer.out
    assert re.search(r"IBML\s+2\s+\d\d\.\d\d ±", answer.out)
    assert "2 trials failed, for instance Huge · seed 0: RuntimeError" in answer.err
    assert "Traceback" not in answer.out + answer.err
    run = re.search(r"traceback.txt of MLflow run\s+([0-9a-f]{32})", answer.out).group(1)
    trace = (cli.folder / "mlruns" / "ibml" / run / "artifacts" / "traceback.txt").read_text()
    assert trace.startswith("Traceback (most recent call last)")
    assert "can't allocate memory" in trace
    again = cli.study("ablate", "fail.yaml")
    assert again.code == 1
    assert "6 of 8 trials have a result already" in again.out
    assert len(query(cli, "select 1 from runs where name like 'Huge%'")) == 2, (
        "a failed trial's run goes on"
    )


LONG = (
    STUDY.replace("small", "long")
    .replace("trainer.epochs: 3", "trainer.epochs: 120")
    .replace("seeds: 2", "seeds: 4")
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    cli = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    cli.write("long.yaml", LONG)
    answer = cli.study("ablate", "long.yaml")
    assert answer.code == 0, answer.err
    return cli.inside("table", "long", "--format", "csv").out


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_study_that_is_cut_off_goes_on_to_the_same_table(
    cli: CommandLine, undisturbed: str, how: int
) -> None:
    cli.write("long.yaml", LONG)
    process = cli.start("ablate", "long.yaml")
    wait_for_epochs(cli.folder, 60)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # Ctrl-C reaches the whole group
    else:
        process.send_signal(how)
    out, err = process.communicate(timeout=60)
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + how, err
        assert "Stopped. Finished trials are kept." in err
        assert "Not run" in out or "Not finished" in out
        assert query(cli, "select distinct status from runs where name like '%seed%'") != [
            ("RUNNING",)
        ]
    # The workers of a killed driver may train for a moment, so another process on Ray follows it.
    again = (
        cli("ablate", "long.yaml") if how == signal.SIGKILL else cli.study("ablate", "long.yaml")
    )
    assert again.code == 0, again.err
    assert cli.inside("table", "long", "--format", "csv").out == undisturbed
    assert len(query(cli, "select 1 from runs where name like '%seed%'")) == 8, (
        "a trial has two runs"
    )
    logged = query(
        cli,
        "select count(*), count(distinct step) from metrics where key = 'val.loss' "
        "group by run_uuid",
    )
    assert logged == [(120, 120)] * 8


@pytest.mark.ray
def test_ray_that_does_not_start_in_time_is_one_sentence(cli: CommandLine) -> None:
    cli.write("small.yaml", STUDY)
    cli.environment["RAY_gcs_server_port_wait_time_s"] = "0"
    answer = cli("ablate", "small.yaml")
    assert answer.code == 1
    assert re.fullmatch(
        r"Ray did not start on this machine: .+\. If the machine is busy, repeat the command\.\n",
        answer.err,
    )
    assert not list((cli.folder / "tmp").glob("ibml-*"))


@pytest.mark.slow
def test_from_python_with_a_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = ibml.ablate(
        {
            "name": "inline",
            "base": "mfeat",
            "overrides": {"trainer.epochs": 2},
            "datasets": {
                "near": {},
                "all": {"data.views": ["fou", "fac", "kar", "pix", "zer", "mor"]},
            },
            "design": {"type": "one_factor", "factors": {"method.bio.weight": [0, 1]}},
            "seeds": [3],
        },
        backend="local",
    )
    assert (made.outcome.finished, made.outcome.failed, made.outcome.interrupted) == (4, [], False)
    frame = ibml.table("inline")
    assert frame[["dataset", "arm"]].drop_duplicates().to_numpy().tolist() == [
        ["near", "base"],
        ["near", "bio.weight=0"],
        ["all", "base"],
        ["all", "bio.weight=0"],
    ]
    assert set(frame.verdict) == {"reference", "one seed: no claim"}


@pytest.mark.ray
def test_more_than_the_machine_has_is_refused(cli: CommandLine) -> None:
    cli.write("gpu.yaml", STUDY + "resources: {gpu: 4}\n")
    answer = cli("ablate", "gpu.yaml")
    assert answer.code == 1
    assert "resources.gpu: a trial asks for 4 GPU, this machine has 0" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.slow
@pytest.mark.ray
def test_a_running_cluster_is_used_and_left_running(
    cli: CommandLine, ray_cluster: RayCluster
) -> None:
    cli.write("small.yaml", STUDY + "resources: {cpu: 0.5, gpu: 0.5}\n")
    answer = cli("ablate", "small.yaml", "--address", ray_cluster.address)
    assert answer.code == 0, answer.err
    assert "4 / 4 trials done" in answer.out
    assert ray_cluster.process.poll() is None, "the cluster was stopped with the study"


@pytest.mark.slow
def test_ray_client_is_refused_in_words(cli: CommandLine) -> None:
    cli.write("small.yaml", STUDY)
    answer = cli("ablate", "small.yaml", "--address", "ray://127.0.0.1:10001")
    assert answer.code == 1
    assert "Ray Client cannot run a study" in answer.err


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_named(cli: CommandLine) -> None:
    cli.write("small.yaml", STUDY)
    answer = cli("ablate", "small.yaml", "--address", "127.0.0.1:1")
    assert answer.code == 1
    assert "no Ray cluster at 127.0.0.1:1" in answer.err
    assert "Traceback" not in answer.err
