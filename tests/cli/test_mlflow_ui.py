"""`ibml ui`: MLflow's server for as long as the command runs."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from urllib.request import urlopen

import psutil
import pytest

from ibml.tracking.store.mlflow_store import MlflowStore
from tests.conftest import CommandLine, free_port
from tests.support.waiting import wait_until


@pytest.fixture
def store(cli: CommandLine) -> CommandLine:
    assert MlflowStore(f"sqlite:///{cli.folder}/mlflow.db").experiment_id
    return cli


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_server_ends_with_the_command(store: CommandLine, number: signal.Signals) -> None:
    port = free_port()
    command = store.start("ui", "--port", str(port))
    assert command.stdout
    line = command.stdout.readline()
    assert f"MLflow on http://127.0.0.1:{port}" in line
    with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        assert answer.status == 200, "the address is printed when the server answers"
    started = psutil.Process(command.pid).children(recursive=True)
    assert len(started) > 1
    command.send_signal(number)
    _, err = command.communicate(timeout=40)
    assert command.returncode == (-9 if number == signal.SIGKILL else 128 + number), err
    wait_until(lambda: not any(process.is_running() for process in started), 30)
    with socket.socket() as free:
        free.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # the test's own connection may linger
        free.bind(("127.0.0.1", port))


def test_a_port_that_is_taken_is_said(store: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = store("ui", "--port", str(port))
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert f"127.0.0.1:{port}" in answer.err
    assert "--port" in answer.err


@pytest.mark.slow
def test_a_signal_while_the_server_starts_ends_it(store: CommandLine) -> None:
    command = store.start("ui", "--port", str(free_port()))
    wait_until(lambda: len(psutil.Process(command.pid).children(recursive=True)) > 1)
    time.sleep(0.5)
    started = psutil.Process(command.pid).children(recursive=True)
    command.send_signal(signal.SIGTERM)
    try:
        command.communicate(timeout=40)
    except subprocess.TimeoutExpired:
        command.kill()
        raise
    assert command.returncode == 143
    wait_until(lambda: not any(process.is_running() for process in started), 30)
