"""A tracking server that goes away and comes back, and a disk that is full."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.faults.conftest import TRIALS, Shaken, Tally
from tests.support.waiting import count_epochs, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]


class Server:
    """MLflow's server on the folder's database, which can be restarted at the same address."""

    def __init__(self, shaken: Shaken):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.shaken, self.process = shaken, None

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        command += ["--backend-store-uri", "sqlite:///mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", "mlartifacts"]
        self.process = subprocess.Popen(
            command,
            cwd=self.shaken.cli.folder,
            env=self.shaken.cli.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(self.answers)

    def answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2),
        ):
            return True
        return False

    def kill(self) -> None:
        """With its workers, which would serve on."""
        if self.process:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(shaken: Shaken) -> Iterator[Server]:
    server = Server(shaken)
    server.start()
    shaken.uri = ("--tracking-uri", f"http://127.0.0.1:{server.port}")
    yield server
    server.kill()


def test_a_server_that_goes_away_stops_nothing_and_gets_everything(
    shaken: Shaken, server: Server, tally: Tally
) -> None:
    driver = shaken.start()
    wait_until(lambda: count_epochs(shaken.cli.folder) > 20)
    server.kill()
    spool = shaken.cli.folder / "checkpoints"
    journals = lambda: [path.read_text() for path in spool.glob("*/spool/*/*.jsonl")]  # noqa: E731
    wait_until(lambda: any('"entry": "End"' in text for text in journals()))  # training went on
    server.start()
    wait_until(lambda: count_epochs(shaken.cli.folder) > 300)
    server.kill()
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 1
    assert out.count("results are buffered in") == 2
    assert out.count("MLflow responds again") == 1, out
    assert "Run `ibml sync` to upload them" in err
    assert "Traceback" not in out + err
    server.start()
    answer = shaken.cli("sync", *shaken.uri)
    assert answer.code == 0, answer.err
    assert "uploaded to MLflow" in answer.out
    assert f"{TRIALS} of {TRIALS} trials have a result already" in shaken.run()
    shaken.check_processes = lambda: None  # type: ignore[method-assign]  # the server runs on
    shaken.check(tally, "MLflow server killed and started", 2)


def test_a_disk_that_is_full_stops_nothing_and_gets_everything(
    shaken: Shaken, tally: Tally, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], check=False
        ).returncode
    ):
        pytest.skip("a small file system cannot be mounted here")
    try:
        shaken.uri = (
            "--tracking-uri",
            f"sqlite:///{small}/mlflow.db",
            "--checkpoints",
            str(tmp_path / "checkpoints"),
        )
        driver = shaken.start()
        link = shaken.cli.folder / "mlflow.db"
        link.symlink_to(small / "mlflow.db")
        wait_until(
            lambda: (
                (small / "mlflow.db").exists()
                and (small / "mlruns").exists()
                and count_epochs(shaken.cli.folder) > 20
            )
        )
        with contextlib.suppress(OSError), (small / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(1024))
                filler.flush()
        wait_until(lambda: any(tmp_path.glob("checkpoints/*/spool/*/*.jsonl")))
        time.sleep(8)
        (small / "filler").unlink()
        out, err = driver.communicate(timeout=200)
        assert driver.returncode == 0, err + out
        assert "results are buffered in" in out
        assert "MLflow responds again" in out
        shaken.uri = shaken.uri[:2]
        shaken.check(tally, "disk of the store full", 1)
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
        shutil.rmtree(small)
