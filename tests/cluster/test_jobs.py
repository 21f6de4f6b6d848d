"""Studies as jobs of a cluster, with Ray's own job server."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, CommandLine, free_port

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.cluster]

SMOKE = (ROOT / "ablations" / "smoke.yaml").read_text()
SLOW = """\
name: slow
base: mfeat
overrides: {trainer.epochs: 2000}
design:
  type: arms
  reference: Joint
  arms: {Joint: {method.bio.weight: 0, method.tcm.rate: 0}, IBML: {}}
"""


class Head:
    """A command line whose `--jobs` is a head with a dashboard."""

    def __init__(self, cli: CommandLine, server: str):
        self.cli, self.server = cli, server
        self.store = f"sqlite:///{cli.folder}/mlflow.db"

    def __call__(self, *arguments: str) -> tuple[int, str]:
        answer = self.cli(*arguments)
        assert "Traceback" not in answer.out + answer.err
        return answer.code, answer.out + answer.err

    def submit(self, *arguments: str) -> tuple[int, str]:
        return self(*arguments, "--submit", "--jobs", self.server, "--tracking-uri", self.store)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    if importlib.util.find_spec("aiohttp_cors") is None:
        pytest.skip("jobs need ray[default], which is not installed")
    cli, place = CommandLine(tmp_path_factory.mktemp("jobs")), tempfile.mkdtemp(dir="/tmp")
    path = f"{Path(sys.executable).parent}:{cli.environment['PATH']}"
    cli.environment |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "t" * 64,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
    }
    cli.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # all on 127.0.0.1
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--node-ip-address=127.0.0.1",
    ]
    command += [
        f"--port={free_port()}",
        f"--temp-dir={place}",
        "--num-cpus=2",
        "--disable-usage-stats",
    ]
    command += [
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={port}",
        "--object-store-memory=100000000",
    ]
    # Ray's own default is one port, which the agent of another cluster on this machine may have.
    command += [f"--dashboard-agent-listen-port={free_port()}"]
    process = subprocess.Popen(
        command, env=cli.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    made = Head(cli, f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 120
        while made("list", "--jobs", made.server)[0]:
            assert time.monotonic() < deadline, "the dashboard does not answer"
            time.sleep(1)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(place, ignore_errors=True)


def test_a_study_runs_as_a_job_and_its_results_stay(head: Head) -> None:
    head.cli.write("smoke.yaml", SMOKE)
    code, said = head.submit("ablate", "smoke.yaml", "-o", "trainer.epochs=3", "--seeds", "3")
    assert code == 0, said
    name = "smoke+seeds=3+trainer.epochs=3"
    assert f"ibml logs {name} --follow" in said
    code, said = head("logs", name, "--follow", "--jobs", head.server)
    assert code == 0, said
    assert "6 / 6 trials done" in said
    code, said = head("list", "--jobs", head.server)
    assert "SUCCEEDED" in said
    assert "ibml ablate smoke.yaml -o" in " ".join(said.split()), "names and command are folded"
    assert head("table", name, "--tracking-uri", head.store)[0] == 0
    assert (head.cli.folder / "ibml-checkpoints").is_dir()


def test_a_job_that_is_stopped_goes_on_when_it_is_sent_again(head: Head) -> None:
    head.cli.write("slow.yaml", SLOW)
    assert head.submit("ablate", "slow.yaml")[0] == 0
    deadline = time.monotonic() + 120
    while "RUNNING" not in head("list", "--tracking-uri", head.store)[1].upper():
        assert time.monotonic() < deadline, "no trial has begun"
    code, said = head("stop", "slow", "--jobs", head.server)
    assert code == 0, said
    assert "STOPPED" in said
    assert "Stopped. Finished trials are kept" in head("logs", "slow", "--jobs", head.server)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tracking-uri", "sqlite:///mlflow.db"), "use a server or an absolute path"),
        (("--tracking-uri", "http://me:hunter2@127.0.0.1:5000"), "has a secret"),
        (
            ("--tracking-uri", "http://127.0.0.1:5000", "--checkpoints", "here"),
            "use an absolute path",
        ),
        (
            ("--tracking-uri", "http://127.0.0.1:5000", "--address", "127.0.0.1:6379"),
            "remove --address",
        ),
        (
            ("--tracking-uri", "http://127.0.0.1:5000", "--jobs", "127.0.0.1:8265"),
            "is not the address of a dashboard",
        ),
        (
            ("--tracking-uri", "http://127.0.0.1:5000", "--jobs", "http://127.0.0.1:1"),
            "is there a tunnel",
        ),
    ],
)
def test_what_cannot_be_a_job_is_refused_in_words(
    cli: CommandLine, arguments: tuple[str, ...], words: str
) -> None:
    cli.write("smoke.yaml", SMOKE)
    answer = cli("ablate", "smoke.yaml", "--submit", *arguments)
    assert answer.code in (1, 2)
    assert words in answer.err
    assert "hunter2" not in answer.err.replace("http://me:hunter2@", "")
    assert "Traceback" not in answer.err


def test_a_file_from_elsewhere_is_not_sent(
    cli: CommandLine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "smoke.yaml"
    elsewhere.write_text(SMOKE)
    answer = cli.inside(
        "ablate", str(elsewhere), "--submit", "--tracking-uri", "http://127.0.0.1:5000"
    )
    assert answer.code == 2
    assert "is not below this folder" in answer.err


def test_a_job_without_a_store_that_stays_ends_in_words(head: Head) -> None:
    head.cli.write("smoke.yaml", SMOKE.replace("name: smoke", "name: nowhere"))
    assert head("ablate", "smoke.yaml", "--submit", "--jobs", head.server)[0] == 0
    assert (
        "A job needs a store that stays"
        in head("logs", "nowhere", "--follow", "--jobs", head.server)[1]
    )


def test_a_job_that_is_not_there_is_said(head: Head) -> None:
    code, said = head("logs", "nothing", "--jobs", head.server)
    assert code == 1
    assert "no job 'nothing' there" in said


def test_jobs_need_the_token(head: Head, cli: CommandLine) -> None:
    answer = cli("list", "--jobs", head.server)
    assert answer.code == 1
    assert "token" in answer.err
    assert "Traceback" not in answer.err
