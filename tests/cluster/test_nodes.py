"""A study on three nodes, and what `ibml cluster check` says of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, CommandLine
from tests.data.miniatures import miniature, picture
from tests.support.recorded import Metrics, metrics, trials

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.cluster]

SMOKE = (ROOT / "ablations" / "smoke.yaml").read_text()
HALVES = "resources: {cpu: 1, gpu: 0.5}\n"
LONG = """\
name: long
base: mfeat
overrides: {trainer.epochs: 30, trainer.checkpoint_seconds: 0}
design: {type: one_factor, factors: {method.bio.weight: [0, 1]}}
seeds: 2
"""
ALONE = """\
name: alone
base: mfeat
design:
  type: arms
  reference: IBML
  arms:
    IBML: {trainer.epochs: 2}
    Joint: {trainer.epochs: 2, method.bio.weight: 0, method.tcm.rate: 0}
    base: {trainer.epochs: 30, trainer.checkpoint_seconds: 0}
    none: {trainer.epochs: 30, trainer.checkpoint_seconds: 0, method.bio.weight: 0}
seeds: 2
"""
"""The trials of both studies."""
MEDIA = """\
name: own
base: cremad
design:
  type: arms
  reference: Joint
  arms: {Joint: {method.bio.weight: 0, method.tcm.rate: 0}, IBML: {}}
"""


class Nodes:
    """Three nodes, and the environment of commands that use them."""

    def __init__(self, cli: CommandLine, folder: str):
        self.cli = cli
        cli.environment |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "t" * 64,
            "PYTHONPATH": str(ROOT),
        }
        cli.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # all on 127.0.0.1
        command = [sys.executable, "-m", "tests.cluster.nodes"]
        self._process = subprocess.Popen(
            command,
            env={**cli.environment, "RAY_TMPDIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._line()

    def ask(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._line()

    def end(self) -> None:
        self._process.communicate(timeout=60)

    def _line(self) -> str:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if (said := line.strip()) and " " not in said:  # Ray may print too
                return said
        raise AssertionError("the cluster has ended")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    place = tempfile.mkdtemp(dir="/tmp")  # pytest's folders are too long for Ray's sockets
    made = Nodes(CommandLine(tmp_path_factory.mktemp("nodes")), place)
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def alone(shared_cli: CommandLine) -> Metrics:
    """The results of one machine."""
    shared_cli.write("alone.yaml", ALONE)
    answer = shared_cli("ablate", "alone.yaml")
    assert answer.code == 0, answer.err
    return metrics(shared_cli)


def test_nodes_train_and_results_are_those_of_one_machine(nodes: Nodes, alone: Metrics) -> None:
    nodes.cli.write("smoke.yaml", SMOKE + HALVES)
    answer = nodes.cli("ablate", "smoke.yaml", "--seeds", "2", "--address", nodes.address)
    assert answer.code == 0, answer.err
    assert int(nodes.ask("trained")) > 1, (
        "trials of two epochs may be over before the third node's process is there"
    )
    found = metrics(nodes.cli)
    assert len(found) == 4
    assert found == {key: alone[key] for key in found}


def test_healthy_nodes_pass_the_check(nodes: Nodes) -> None:
    nodes.cli.write("smoke.yaml", SMOKE)
    answer = nodes.cli("cluster", "check", "smoke.yaml", "--address", nodes.address)
    assert answer.code == 0, answer.out + answer.err
    for about, found in (
        ("versions", "torch"),
        ("checkpoints", "can be written, and is shared"),
        ("clock", "within"),
        ("data mfeat", "the same as here"),
        ("MLflow", "answers"),
        ("Optuna", "answers"),
    ):
        lines = [line for line in answer.out.splitlines() if about in line and found in line]
        assert len(lines) == (1 if about in ("MLflow", "Optuna") else 3), (about, answer.out)
    assert "wrong" not in answer.out
    assert not list(nodes.cli.folder.glob("checkpoints/seen-*"))


def test_what_is_wrong_with_a_node_is_named_and_stops_a_study(nodes: Nodes, tmp_path: Path) -> None:
    """A node with another ibml, other data, and a home of its own."""
    other = tmp_path / "site" / "ibml-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: ibml\nVersion: 9.9\n")
    for place in (nodes.cli.folder / "sets", tmp_path / "sets"):
        miniature("cremad", place / "cremad")
    picture(next((tmp_path / "sets").rglob("*.jpg")), 1, green=9)
    nodes.cli.write("own.yaml", MEDIA)
    sets = {"IBML_DATA": str(nodes.cli.folder / "sets")}
    odd = {"IBML_DATA": str(tmp_path / "sets"), "PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}"}
    nodes.ask(f"add {json.dumps(odd)}")
    before = dict(nodes.cli.environment)
    try:
        nodes.cli.environment |= sets
        answer = nodes.cli("cluster", "check", "own.yaml", "--address", nodes.address)
        assert answer.code == 1
        wrong = [line for line in answer.out.splitlines() if " wrong " in line]
        assert any("ibml is 9.9, here " in line for line in wrong), answer.out
        assert any("its content differs from this machine's" in line for line in wrong)
        assert "copy the same files to both" in answer.out
        assert "install the same there" in answer.out
        refused = nodes.cli("ablate", "own.yaml", "--address", nodes.address)
        assert refused.code == 1
        assert "the cluster cannot run this" in refused.err
        assert "ibml is 9.9, here " in refused.err
    finally:
        nodes.cli.environment.clear()
        nodes.cli.environment |= before
        nodes.ask("remove")


def test_without_the_token_there_is_no_answer(nodes: Nodes, cli: CommandLine) -> None:
    cli.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    cli.write("long.yaml", LONG)
    answer = cli("ablate", "long.yaml", "--address", nodes.address)
    assert answer.code == 1
    assert "token" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001"])
def test_a_cluster_that_is_not_there_is_said_in_words(cli: CommandLine, address: str) -> None:
    answer = cli("cluster", "check", "--address", address)
    assert answer.code == 1
    assert "Traceback" not in answer.err
    assert "cluster" in answer.err or "Ray Client" in answer.err


def test_a_study_outlives_a_node(nodes: Nodes, alone: Metrics) -> None:
    nodes.cli.write("long.yaml", LONG + HALVES)
    running = nodes.cli.start("ablate", "long.yaml", "--address", nodes.address)
    deadline = time.monotonic() + 120
    checkpoints = nodes.cli.folder / "checkpoints"
    while len({path.parent for path in checkpoints.rglob("state-*.ckpt")}) < 3:
        assert time.monotonic() < deadline, "not all nodes train"
        time.sleep(0.1)
    assert nodes.ask("trained") == "3"
    nodes.ask("kill")
    out, err = running.communicate(timeout=200)
    assert running.returncode == 0, err
    assert "4 / 4 trials done" in out
    found = metrics(nodes.cli)
    assert {key: found.get(key) for key in alone} == alone
    assert any("ibml.retries" in run.data.tags for run in trials(nodes.cli)), (
        "a trial was lost with the node"
    )
