"""Drivers that are killed leave nothing behind: no process, no file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import CommandLine
from tests.study.test_ablation import LONG
from tests.support.waiting import wait_for_epochs, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SECONDS = 30.0


@pytest.mark.ray
@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["the driver", "its process group"])
def test_a_driver_that_is_killed_in_training_leaves_no_process_and_no_file(
    cli: CommandLine, kill: Callable[[int, int], None]
) -> None:
    cli.write("long.yaml", LONG)
    objects = set(Path("/dev/shm").glob("plasma*"))
    driver = cli.start("ablate", "long.yaml")
    wait_for_epochs(cli.folder, 20)
    # by descent and not by their mark, which one of them might lack
    started = psutil.Process(driver.pid).children(recursive=True)
    names = {process.name() for process in started}
    assert {"raylet", "gcs_server", "ray::DashboardAgent", "ray::RuntimeEnvAgent"} <= names
    kill(driver.pid, signal.SIGKILL)
    killed = time.monotonic()
    driver.wait()
    while (
        left := [process for process in started if lives(process)]
    ) and time.monotonic() < killed + SECONDS:
        time.sleep(0.1)
    assert not left
    left_over = {
        path.name
        for path in (cli.folder / "tmp").iterdir()
        if not path.name.startswith("torchinductor_")
    }
    assert not left_over, "more than torch's cache, which is the user's"
    assert not list(Path("/tmp").glob(f"ibml-{driver.pid}-*")), (
        "it is there where paths are too long for Ray"
    )
    wait_until(
        lambda: set(Path("/dev/shm").glob("plasma*")) <= objects, SECONDS
    )  # Ray's shared memory


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
