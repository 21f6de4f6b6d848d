"""Plug-ins for real: a module in the working folder, the command line, workers of Ray, MLflow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ibml.tracking.store.mlflow_store import MlflowStore
from tests.conftest import ROOT, CommandLine

MINE = """\
from pathlib import Path

from ibml.methods.ibml.config import IBMLConfig
from ibml.methods.ibml.method import IBML
from ibml.models.fusions.sum.fusion import Sum

with open(Path(__file__).with_name("imported"), "a") as file:
    file.write("x")


class Balanced(IBML):
    class Options(IBMLConfig):
        pass


class Added(Sum):
    def __init__(self, options, modalities, widths, classes):
        super().__init__(options, modalities, widths, classes)
"""

STUDY = """\
name: plugged
base: mfeat
overrides: {trainer.epochs: 3, fusion.type: sum, method.bio.weight: 2}
design:
  type: arms
  reference: IBML
  arms:
    IBML: {}
    Mine:
      method: {type: plugin, target: "mine:Balanced", options: {bio: {weight: 2}}}
      fusion: {type: plugin, target: "mine:Added"}
seeds: 1
"""


def run(cli: CommandLine, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command.

    Its script is in another folder, so that the working folder is not in Python's path.
    """
    script = cli.folder / "bin" / "ibml"
    script.parent.mkdir(exist_ok=True)
    script.write_text("from ibml.cli.main import main\nmain()\n")
    command = [sys.executable, str(script), *arguments]
    environment = {**cli.environment, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(cli.folder)}
    return subprocess.run(
        command,
        cwd=cli.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.ray
def test_a_study_with_plugins_gives_the_numbers_of_what_they_copy(cli: CommandLine) -> None:
    cli.write("mine.py", MINE)
    cli.write("plugged.yaml", STUDY)
    refused = run(cli, "ablate", "plugged.yaml")
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.startswith(
        "plugged.yaml:10: design.arms.Mine: method.target: the package 'mine' may not run"
    )
    assert "plugged.yaml:11: design.arms.Mine: fusion.target" in refused.stderr
    assert not (cli.folder / "imported").exists()
    assert not (cli.folder / "mlflow.db").exists()

    done = run(cli, "ablate", "plugged.yaml", "--allow-plugin", "mine")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((cli.folder / "imported").read_text()) >= 2, "the driver and a worker import it"
    records = MlflowStore(f"sqlite:///{cli.folder}/mlflow.db").results().values()
    by_arm = {record.arm: record.metrics for record in records}
    numbers = {
        arm: {name: value for name, value in metrics.items() if not name.startswith("time.")}
        for arm, metrics in by_arm.items()
    }
    assert len(numbers["IBML"]) > 20
    assert numbers["Mine"] == numbers["IBML"]

    cli.write("mine.py", f"{MINE}\n# edited\n")
    table = json.loads(
        run(cli, "table", "plugged.yaml", "--format", "json", "--allow-plugin", "mine").stdout
    )
    found = {row["arm"]: row["n"] for row in table["rows"] if row["metric"] == "test.accuracy"}
    assert found == {"IBML": 1, "Mine": 0}, "what was edited has no result yet"
