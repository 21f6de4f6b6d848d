"""The local backend: Ray's numbers bit for bit, deaths of workers, stops, errors, the debugger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import ibml
from tests.conftest import CommandLine
from tests.support.ray_cluster import RayCluster
from tests.support.recorded import Metrics, metrics, trials
from tests.support.waiting import wait_for_epochs, wait_until

SHARED = """\
name: shared
base: mfeat
overrides: {trainer.epochs: 6}
design:
  type: one_factor
  factors: {method.bio.weight: [0.5, 1], method.window.first_epoch: [4, 2]}
seeds: 2
"""
ADAPTIVE = """\
name: adaptive
base: mfeat
overrides: {trainer.epochs: 3}
design: {type: cumulative, components: {BIO: {method.bio.weight: 0}}}
seeds: {min: 2, max: 3, metric: test.accuracy.zer}
"""
TUNED = """\
name: tuned
base: mfeat
overrides: {trainer.epochs: 3}
design: {type: arms, reference: Joint, arms: {Joint: {method.type: joint}, IBML: {}}}
seeds: 1
tune:
  space:
    parameters: {optimizer.lr: {low: 0.001, high: 0.1, log: true}}
    sampler: {type: random}
  trials: 2
"""
POPULATION = """\
name: population
base: mfeat
overrides: {trainer.epochs: 4}
parameters: {optimizer.lr: {low: 1.0e-4, high: 1.0e-1, log: true}}
scheduler: {type: pbt, interval_epochs: 2}
sampler: {type: random}
trials: 4
"""
FILES = {"shared": SHARED, "adaptive": ADAPTIVE, "tuned": TUNED, "population": POPULATION}
LONG = """\
name: long
base: mfeat
overrides: {trainer.epochs: 60, trainer.checkpoint_seconds: 0}
design: {type: arms, reference: Joint, arms: {Joint: {method.type: joint}, IBML: {}}}
seeds: 2
"""
TWO = ("--backend", "local", "--workers", "2")


def command_of(name: str) -> tuple[str, str]:
    return ("tune" if name == "population" else "ablate", f"{name}.yaml")


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Metrics, str]]:
    """The metrics and the printed end of every file, trained in this process."""
    found = {}
    for name, text in FILES.items():
        cli = CommandLine(tmp_path_factory.mktemp(name))
        cli.write(f"{name}.yaml", text)
        answer = cli.study(*command_of(name))
        assert answer.code == 0, answer.err
        found[name] = metrics(cli), table_of(cli, name)
        assert found[name][0]
    return found


def table_of(cli: CommandLine, name: str) -> str:
    """The table of a study; a search has none."""
    return "" if name == "population" else cli.inside("table", name, "--format", "csv").out


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_two_workers_give_the_numbers_of_one(
    cli: CommandLine, in_process: dict[str, tuple[Metrics, str]], name: str
) -> None:
    cli.write(f"{name}.yaml", FILES[name])
    answer = cli.inside(*command_of(name), *TWO)
    assert answer.code == 0, answer.err
    assert (metrics(cli), table_of(cli, name)) == in_process[name]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("name", FILES)
def test_ray_gives_the_same_numbers(
    cli: CommandLine, in_process: dict[str, tuple[Metrics, str]], ray_cluster: RayCluster, name: str
) -> None:
    cli.write(f"{name}.yaml", FILES[name])
    answer = cli(*command_of(name), "--address", ray_cluster.address)
    assert answer.code == 0, answer.err
    assert (metrics(cli), table_of(cli, name)) == in_process[name]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Metrics, str]:
    """The metrics and the table of the long study when nothing happens to it."""
    cli = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    cli.write("long.yaml", LONG)
    assert cli.study("ablate", "long.yaml").code == 0
    return metrics(cli), table_of(cli, "long")


def workers_of(driver: int) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            if "ibml.study.local.worker_process" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
@pytest.mark.faults
def test_a_worker_that_is_killed_is_replaced(
    cli: CommandLine, undisturbed: tuple[Metrics, str]
) -> None:
    cli.write("long.yaml", LONG)
    driver = cli.start("ablate", "long.yaml", *TWO)
    wait_for_epochs(cli.folder, 20)
    before = workers_of(driver.pid)
    before[0].kill()
    wait_until(
        lambda: (
            {worker.pid for worker in workers_of(driver.pid)} - {worker.pid for worker in before}
        )
    )
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, err + out
    assert (metrics(cli), table_of(cli, "long")) == undisturbed
    retried = [run.data.tags for run in trials(cli) if "ibml.retries" in run.data.tags]
    assert [tags["ibml.retries"] for tags in retried] == ["1"]
    assert "its worker process ended without a report" in retried[0]["ibml.retried_after"]


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_writes_checkpoints_and_the_command_goes_on_from_them(
    cli: CommandLine, undisturbed: tuple[Metrics, str], workers: str
) -> None:
    options = ("--backend", "local", "--workers", workers)
    cli.write("long.yaml", LONG.replace("checkpoint_seconds: 0", "checkpoint_seconds: 3600"))
    driver = cli.start("ablate", "long.yaml", *options)
    wait_for_epochs(cli.folder, 20)
    os.killpg(driver.pid, signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, err
    assert "Traceback" not in err
    assert list(cli.folder.glob("checkpoints/*/trials/*/state-*.ckpt")), "no checkpoint was due"
    again = cli.inside("ablate", "long.yaml", *options)
    assert again.code == 0, again.err
    assert (metrics(cli), table_of(cli, "long")) == undisturbed


@pytest.mark.slow
@pytest.mark.faults
def test_a_driver_that_is_killed_leaves_no_worker(
    cli: CommandLine, undisturbed: tuple[Metrics, str]
) -> None:
    cli.write("long.yaml", LONG)
    driver = cli.start("ablate", "long.yaml", *TWO)
    wait_for_epochs(cli.folder, 20)
    started = psutil.Process(driver.pid).children(recursive=True)
    assert len(workers_of(driver.pid)) == 2
    driver.kill()
    driver.communicate()
    wait_until(lambda: not any(lives(process) for process in started), 30)
    assert cli.inside("ablate", "long.yaml", *TWO).code == 0
    assert (metrics(cli), table_of(cli, "long")) == undisturbed


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--debug"], "--debug needs the local backend: add --backend local"),
        (["--backend", "ray", "--debug"], "--debug needs the local backend: add --backend local"),
        (["--workers", "2"], "--workers needs the local backend: add --backend local"),
        (
            ["--backend", "local", "--address", "127.0.0.1:1"],
            "--address names a Ray cluster, and --backend local",
        ),
        (
            ["--backend", "local", "--submit", "--jobs", "http://127.0.0.1:1"],
            "--submit requires Ray",
        ),
        ([*TWO, "--debug"], "--debug trains in this process, not in 2 workers: add --workers 1"),
    ],
)
@pytest.mark.parametrize("name", ["shared", "population"])
def test_options_that_do_not_fit_are_refused(
    cli: CommandLine, name: str, options: list[str], words: str
) -> None:
    cli.write(f"{name}.yaml", FILES[name])
    answer = cli.inside(*command_of(name), *options)
    assert answer.code in (1, 2)
    assert words in " ".join(answer.err.split())
    assert "Traceback" not in answer.err


@pytest.mark.slow
def test_the_debugger_opens_where_a_trial_raises(cli: CommandLine) -> None:
    cli.write(
        "fail.yaml", LONG.replace("epochs: 60", "epochs: 2, encoders.default.features: 1000000000")
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "ibml", "ablate", "fail.yaml", "--backend", "local", "--debug"],
        cwd=cli.folder,
        env=cli.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate("p 6 * 7\nq\n", timeout=200)
    assert process.returncode == 130, "to leave the debugger stops the run"
    assert "(Pdb) 42" in out
    assert "can't allocate memory" in err
    assert [run.data.tags["ibml.status"] for run in trials(cli)] == ["failed"], (
        "the run stops there"
    )


@pytest.mark.slow
def test_a_study_file_names_the_backend(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    text = LONG.replace("epochs: 60", "epochs: 2")
    cli.write("long.yaml", text + "resources: {backend: local, workers: 2}\n")
    answer = cli.inside("ablate", "long.yaml")
    assert answer.code == 0, answer.err
    before = metrics(cli)
    monkeypatch.chdir(cli.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    cli.write("long.yaml", text)
    made = ibml.ablate("long.yaml", backend="local", workers=1)
    assert (made.outcome.failed, made.outcome.interrupted) == ([], False)
    assert metrics(cli, f"sqlite:///{Path('other.db').absolute()}") == before
