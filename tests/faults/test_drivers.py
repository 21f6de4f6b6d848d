"""Killed drivers, and two drivers of one study."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess

import pytest

from tests.conftest import CommandLine
from tests.faults.conftest import BACKEND, STUDY, TRIALS, Shaken, Tally
from tests.support.ray_cluster import RayCluster
from tests.support.waiting import wait_for_epochs, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

KILLS = int(os.environ.get("IBML_TEST_KILLS", "0"))
"""Number of kills; `make faults` sets 20."""


@pytest.mark.ray
@pytest.mark.skipif(
    "IBML_TEST_KILLS" not in os.environ, reason="repeated kills: make faults runs it"
)
def test_a_driver_killed_at_any_moment_comes_to_the_same_table(
    shaken: Shaken, tally: Tally, ray_cluster: RayCluster
) -> None:
    """Kill drivers of studies on one cluster, because starting a cluster takes most of the time.

    A finished study is checked, and a new one starts from nothing, until there were enough kills.
    """
    moments = random.Random(6)
    shaken.cli.copies_store = False  # a moment may be that of the store's creation
    on_cluster = ("--address", ray_cluster.address)
    kills = 0
    while kills < KILLS:
        in_study = 0
        while in_study < KILLS:
            driver = shaken.start(*on_cluster)
            try:
                driver.communicate(timeout=moments.uniform(0.5, 14))
                break  # it was done before its moment came
            except subprocess.TimeoutExpired:
                driver.send_signal(signal.SIGKILL)
                driver.communicate()
                kills += 1
                in_study += 1
        shaken.run(*on_cluster)
        shaken.check(tally, "driver killed (SIGKILL)", in_study)
        for left in ("mlflow.db", "mlruns", "checkpoints"):
            path = shaken.cli.folder / left
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert kills >= KILLS


def test_two_drivers_at_once_share_a_study(shaken: Shaken, tally: Tally) -> None:
    drivers = [shaken.start(), shaken.start()]
    outs = [driver.communicate(timeout=200) for driver in drivers]
    for driver, (out, err) in zip(drivers, outs, strict=True):
        assert driver.returncode == 0, err
        assert "Pairs with a missing side" not in out
    trained = [int(re.findall(r"(\d+) / \d+ trials done", out)[-1]) for out, _ in outs]
    assert sum(trained) == TRIALS, "each trial is trained by one of them"
    assert min(trained) > 0, "both had work"
    wait_until(lambda: not shaken.processes(), 30)
    shaken.check(tally, "two drivers at once", 1)


def test_one_of_two_drivers_killed_is_taken_over_by_the_other(shaken: Shaken, tally: Tally) -> None:
    first, second = shaken.start(), shaken.start()
    wait_for_epochs(shaken.cli.folder, 100)
    first.kill()
    first.communicate()
    _, err = second.communicate(timeout=200)
    assert second.returncode == 0, err
    wait_until(lambda: not shaken.processes(), 30)
    shaken.check(tally, "one of two drivers killed", 1)


def test_a_trial_that_two_studies_share_is_trained_by_one_of_them(cli: CommandLine) -> None:
    cli.write(
        "a.yaml", STUDY.replace("shaken", "a").replace("IBML: {", "IBML: {method.bio.weight: 2, ")
    )
    cli.write("b.yaml", STUDY.replace("shaken", "b"))
    drivers = [cli.start("ablate", name, *BACKEND) for name in ("a.yaml", "b.yaml")]
    for driver in drivers:
        _, err = driver.communicate(timeout=200)
        assert driver.returncode == 0, err
    shaken = Shaken(cli)
    names = shaken.rows(
        "select name, count(*) from runs where lifecycle_stage = 'active' group by name"
    )
    assert all(count == 1 for name, count in names if name.startswith("Joint")), names
    assert not shaken.rows(
        "select 1 from metrics join runs using (run_uuid) where lifecycle_stage = 'deleted'"
    )
