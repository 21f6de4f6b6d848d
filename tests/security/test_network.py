"""Listening addresses of ibml's servers, and the visible arguments of their processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CommandLine

pytestmark = pytest.mark.skipif(
    not Path("/proc/net/tcp").is_file(), reason="Linux tells it in /proc"
)
LISTENS = "0A"
CLUSTER = """\
import sys
from ibml.config.resources import ResourcesConfig
from ibml.study.ray.cluster import connect_to_ray, set_ray_environment

with set_ray_environment(None), connect_to_ray(None, ResourcesConfig()):
    import ray

    print(ray.get(ray.remote(lambda: "ready").remote()), flush=True)
    sys.stdin.read()
"""


def family(process: int) -> Iterator[Path]:
    """A process and all below it, as folders of /proc."""
    yield Path(f"/proc/{process}")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        if parent == process:
            yield from family(int(folder.name))


def listening(process: int) -> set[str]:
    """Return the listening addresses of a process tree, in the kernel's hexadecimal form."""
    sockets = set()
    for folder in family(process):
        with contextlib.suppress(OSError):  # a socket that is now closed does not listen
            sockets |= {str(file.readlink()) for file in (folder / "fd").iterdir()}
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {
        row[1].partition(":")[0]
        for row in rows
        if row[3] == LISTENS and f"socket:[{row[9]}]" in sockets
    }


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same within IPv6, and ::1."""


@pytest.mark.slow
@pytest.mark.ray
def test_a_local_cluster_listens_on_this_machine_alone(cli: CommandLine) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        cwd=cli.folder,
        env=cli.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        found = listening(process.pid)
    finally:
        process.communicate("", timeout=60)
    assert found
    assert found <= LOOPBACK


@pytest.mark.slow
def test_ui_listens_on_this_machine_alone_and_hides_the_store(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cli.environment["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db?timeout=42424"
    process = cli.start("ui", "--port", str(port))
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = listening(process.pid)
        lines = [(folder / "cmdline").read_bytes() for folder in family(process.pid)]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert found
    assert found <= LOOPBACK
    assert len(lines) > 1
    assert not any(b"42424" in line for line in lines)
    assert f"MLflow on http://127.0.0.1:{port} " in said


def test_a_store_that_ui_cannot_open_is_said_in_a_line(cli: CommandLine) -> None:
    answer = cli.inside("ui", "--tracking-uri", "nothing://me:hunter2@127.0.0.1/x")
    assert answer.code == 1
    note, line = answer.err.splitlines()
    assert note.startswith("Warning: command-line arguments are visible")
    assert line.startswith("MLflow at nothing://me:***@127.0.0.1/x: ")
    assert "hunter2" not in line
