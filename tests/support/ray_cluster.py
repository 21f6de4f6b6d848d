"""A Ray cluster of one node, separate from the commands that use it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.waiting import wait_for_port


@dataclass(frozen=True)
class RayCluster:
    """A running cluster.

    Attributes:
        address: Address of the head.
        process: Process of the head, which ends with the cluster.
    """

    address: str
    process: subprocess.Popen[bytes]


@contextmanager
def start_cluster(
    environment: Mapping[str, str], port: int, cpus: int = 2, gpus: int = 0
) -> Iterator[RayCluster]:
    """Start a cluster, and stop it on exit.

    Args:
        environment: Environment variables of the processes.
        port: Port of the head.
        cpus: CPUs available to trials.
        gpus: GPUs available to trials.

    Yields:
        The running cluster.
    """
    place = tempfile.mkdtemp(dir="/tmp")  # pytest's folders are too long for Ray's sockets
    address = f"127.0.0.1:{port}"
    head = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--include-dashboard=false",
    ]
    head += [
        "--node-ip-address=127.0.0.1",
        f"--port={port}",
        f"--temp-dir={place}",
        "--disable-usage-stats",
    ]
    head += [f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
    process = subprocess.Popen(
        head, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(address)
        yield RayCluster(address, process)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(place, ignore_errors=True)
