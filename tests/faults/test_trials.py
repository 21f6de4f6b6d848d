"""Faults of trials: exceptions, kills, hangs, NaN losses, damaged checkpoints, lost nodes."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from ibml.training.checkpoint import TrialCheckpoints
from ibml.training.checkpoint_retention import list_states
from ibml.training.trainer import Trainer
from tests.conftest import CommandLine, free_port, vectors
from tests.faults.conftest import RAY, Shaken, Tally, workers_of
from tests.support.ray_cluster import start_cluster
from tests.support.waiting import wait_for_epochs, wait_until

pytestmark = pytest.mark.faults

ARMS = ("none", "raise", "memory", "kill", "stall")
FAULTY = """\
name: faulty
base: mfeat
overrides: {trainer.epochs: 60, trainer.checkpoint_seconds: 0, trainer.stall_minutes: 0.15}
design:
  type: arms
  reference: none
  arms:
"""


def faulty(folder: Path, arms: tuple[str, ...]) -> str:
    options = "{{fault: {arm}, file: {file}}}"
    method = '{{method: {{type: plugin, target: "faulty:Faulty", options: ' + options + "}}}}"
    lines = [f"    {arm}: {method.format(arm=arm, file=folder / 'happened')}" for arm in arms]
    return FAULTY + "\n".join(lines) + "\nseeds: 2\n"


@pytest.mark.slow
@pytest.mark.ray
def test_a_trial_that_something_happens_to_goes_on_to_the_same_numbers(
    cli: CommandLine, tally: Tally
) -> None:
    shutil.copy(Path(__file__).parent / "faulty.py", cli.folder)
    cli.write("faulty.yaml", faulty(cli.folder, (*ARMS, "nan", "always")))
    shaken = Shaken(cli)
    answer = cli("ablate", "faulty.yaml", "--allow-plugin", "faulty")
    assert answer.code == 1
    assert "Traceback" not in answer.out + answer.err
    lines = enumerate((Path(__file__).parent / "faulty.py").read_text().splitlines(), 1)
    error, memory = [
        f"(faulty.py:{number})" for number, text in lines if text.strip().startswith("raise ")
    ]
    wrong = f"RuntimeError('something went wrong') {error}"
    assert f"2 trials failed, for instance always · seed 0: {wrong}" in answer.err
    assert f"Failed: 2 of 14 trials (always 2); for instance {wrong}" in flat(answer.out)
    assert "Diverged: 2 of 14 trials (nan 2); for instance train.loss was nan in epoch 20" in flat(
        answer.out
    )
    retried = dict(shaken.rows(_TAG.format("ibml.retried_after")))
    assert set(retried) == {
        f"{arm} · seed {seed}" for arm in (*ARMS[1:], "always") for seed in (0, 1)
    }
    assert retried["raise · seed 0"] == wrong
    assert retried["memory · seed 0"] == f"MemoryError() {memory}"
    assert "its worker process died" in retried["kill · seed 0"]
    assert retried["stall · seed 0"] == "no epoch ended in 0.15 minutes, so its worker was ended"
    # what failed once would have failed for ever: it was tried twice, not three times
    assert dict(shaken.rows(_TAG.format("ibml.retries")))["always · seed 0"] == "1"
    assert not [
        path for path in (cli.folder / "checkpoints").rglob("*") if path.name == "stalled.txt"
    ]

    twin = CommandLine(cli.folder / "tmp")
    shutil.copy(cli.folder / "faulty.py", twin.folder)
    twin.write("faulty.yaml", faulty(cli.folder, ARMS))  # where everything has happened already
    assert twin("ablate", "faulty.yaml", "--allow-plugin", "faulty", "--backend", "local").code == 0
    disturbed, quiet = (_metrics(Shaken(one)) for one in (cli, twin))
    assert len(quiet) == 2 * len(ARMS)
    lost = sum(name not in disturbed for name in quiet)
    runs = shaken.rows(
        "select name, count(*) from runs where lifecycle_stage = 'active' and name like '%seed%' "
        "group by 1"
    )
    tally(
        "exceptions, memory, killed workers, stalls", 8, lost, sum(count > 1 for _, count in runs)
    )
    assert {name: disturbed[name] for name in quiet} == quiet


def flat(text: str) -> str:
    return " ".join(text.split())


_TAG = "select r.name, t.value from tags t join runs r using (run_uuid) where t.key = '{}'"


def _metrics(shaken: Shaken) -> dict[str, list[tuple[str, int, float]]]:
    """Every metric of every epoch of finished trials, times left out, by the trial's name."""
    found: dict[str, list[tuple[str, int, float]]] = {}
    rows = shaken.rows(
        "select r.name, m.key, m.step, m.value from metrics m "
        "join runs r using (run_uuid) join tags t using (run_uuid) "
        "where t.key = 'ibml.status' and t.value = 'finished' and m.key not like 'time.%' "
        "order by 1, 2, 3"
    )
    for name, *point in rows:
        found.setdefault(name, []).append(tuple(point))
    return found


@pytest.mark.slow
@pytest.mark.ray
def test_workers_that_are_killed_are_replaced(shaken: Shaken, tally: Tally) -> None:
    driver = shaken.start(*RAY)
    for kills in range(1, 4):
        wait_for_epochs(shaken.cli.folder, 60 * kills)
        workers = workers_of(driver.pid)
        assert workers
        workers[kills % len(workers)].send_signal(signal.SIGKILL)
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, err + out
    wait_until(lambda: not shaken.processes(), 30)
    shaken.check(tally, "worker killed (SIGKILL)", 3)


@pytest.mark.slow
@pytest.mark.ray
def test_a_node_that_is_lost_is_done_without(shaken: Shaken, tally: Tally) -> None:
    with start_cluster(shaken.cli.environment, free_port(), cpus=1) as cluster:
        node = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            f"--address={cluster.address}",
            "--block",
        ]
        node += ["--node-ip-address=127.0.0.1", "--num-cpus=1", "--disable-usage-stats"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        second = subprocess.Popen(node, env=shaken.cli.environment, **silent)
        driver = shaken.start("--address", cluster.address)
        wait_for_epochs(shaken.cli.folder, 100)
        children = psutil.Process(second.pid).children(recursive=True)
        (raylet,) = [process for process in children if process.name() == "raylet"]
        assert any("Trainable" in " ".join(process.cmdline()) for process in raylet.children())
        raylet.kill()
        out, err = driver.communicate(timeout=300)
        assert driver.returncode == 0, err + out
        second.wait(60)
    wait_until(lambda: not shaken.processes(), 30)
    shaken.check(tally, "raylet of a node killed", 1)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    shaken: Shaken, tally: Tally
) -> None:
    driver = shaken.start()
    cut = random.Random(1)
    wait_until(
        lambda: len(list(shaken.cli.folder.glob("checkpoints/*/trials/*/state-*.ckpt"))) == 4
    )
    driver.kill()
    driver.communicate()
    wait_until(
        lambda: not shaken.processes(), 30
    )  # a worker may write another checkpoint until it notices
    damaged = []
    for number, folder in enumerate(sorted(shaken.cli.folder.glob("checkpoints/*/trials/*"))):
        for path in list_states(folder)[: number + 1]:  # of one the last, of the other both
            path.write_bytes(path.read_bytes()[: cut.randrange(path.stat().st_size)])
            damaged.append(path)
    assert damaged
    out = shaken.run()
    for path in damaged:
        assert f"skipped and removed a checkpoint: {path}" in out
    wait_until(lambda: not shaken.processes(), 30)
    shaken.check(tally, "checkpoint cut off", len(damaged))


@pytest.mark.parametrize("method", ["joint", "ibml"])
def test_a_checkpoint_is_whole_or_refused(trial, tmp_path: Path, method: str) -> None:
    config = trial(
        method={"type": method},
        encoders={"default": {"type": "mlp", "hidden": [8], "features": 4}},
        trainer={"epochs": 8, "batch_size": 7, "device": "cpu", "checkpoint_seconds": 0},
    )
    dataset = vectors()

    def build() -> Trainer:
        return Trainer(config, dataset)

    alone, checkpoints = build(), TrialCheckpoints(tmp_path, config.trainer)
    rows = []
    while alone.epoch < 4:
        rows.append(alone.run_epoch())
        checkpoints.save_if_due(alone, rows)
    assert [path.name for path in list_states(tmp_path)] == [
        "state-000004.ckpt",
        "state-000003.ckpt",
    ]
    last = list_states(tmp_path)[0]
    content, moments = last.read_bytes(), random.Random(2)
    for _ in range(50):
        damaged = bytearray(content[: moments.randrange(len(content))])
        if moments.random() < 0.5:  # a changed byte instead of a cut
            damaged = bytearray(content)
            damaged[moments.randrange(len(content))] ^= 1 << moments.randrange(8)
        last.write_bytes(damaged)
        reader = TrialCheckpoints(tmp_path, config.trainer)
        restored, before = reader.restore(build)
        assert (restored.epoch, len(before)) == (3, 3)
        assert [note for note in reader.take_notes() if str(last) in note]
        assert not last.exists()
    last.write_bytes(content)
    restored, before = TrialCheckpoints(tmp_path, config.trainer).restore(build)
    assert before == rows
    while not alone.done:
        expected, found = alone.run_epoch(), restored.run_epoch()
        assert {k: v for k, v in expected.items() if k != "time.epoch"} == {
            k: v for k, v in found.items() if k != "time.epoch"
        }
    assert all(
        torch.equal(a, b)
        for a, b in zip(alone.model.parameters(), restored.model.parameters(), strict=True)
    )
