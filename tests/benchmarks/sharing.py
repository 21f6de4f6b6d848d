"""Benchmark of prefix sharing: `python -m tests.benchmarks.sharing`, six minutes on two cores.

The real command runs schedule studies with and without sharing, in turn, each in its own folder. It
measures trained epochs, seconds of the whole command, and seconds from the first trial to the last.
For all shipped studies together, the number of distinct epochs is counted from their plans, without
the searches of tuned arms.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ibml.study.planning.keys import compute_prefix_keys
from ibml.study.planning.plan import load_plan
from ibml.study.planning.trials import build_trials
from tests.benchmarks.tables import Row, markdown

ROOT = Path(__file__).parent.parent.parent
STUDIES = {"tcm_schedule": (), "bio_weight": ("-o", "method.window.first_epoch=25")}
ROUNDS = 2


@dataclass(frozen=True)
class Run:
    """Trained epochs of a command, its seconds, and those from its first trial to its last."""

    epochs: int
    seconds: float
    span: float


def run(study: str, arguments: tuple[str, ...]) -> Run:
    """Run a shipped study in a new folder."""
    with tempfile.TemporaryDirectory(prefix="ibml-bench-") as folder:
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW", "RAY", "IBML"))
        }
        environment = {**plain, "HOME": folder, "PYTHONPATH": str(ROOT)}
        command = [
            sys.executable,
            "-m",
            "ibml",
            "ablate",
            str(ROOT / "ablations" / f"{study}.yaml"),
            *arguments,
        ]
        began = time.monotonic()
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        seconds = time.monotonic() - began
        with sqlite3.connect(Path(folder) / "mlflow.db") as database:
            (epochs,) = database.execute(
                "select count(*) from metrics where key = 'val.loss'"
            ).fetchone()
            (shared,) = database.execute(
                "select total(value) from tags where key = 'ibml.shared'"
            ).fetchone()
            of_trials = (
                "from runs join tags using (run_uuid) where key = 'ibml.kind' and value = 'trial'"
            )
            (span,) = database.execute(
                f"select max(end_time) - min(start_time) {of_trials}"
            ).fetchone()
    return Run(epochs - int(shared), seconds, span / 1000)


def together() -> float:
    """Return the share of distinct epochs among the epochs of all shipped studies."""
    names: set[bytes] = set()
    every = 0
    for file in sorted((ROOT / "ablations").glob("*.yaml")):
        for trial in build_trials(load_plan(file)):
            keys = set(compute_prefix_keys(trial.config, trial.fingerprint, ""))
            names |= keys
            every += len(keys)
    return len(names) / every


def rows() -> list[Row]:
    """Run the benchmark, and return its rows."""
    found = []
    for study, given in STUDIES.items():
        pairs = [(run(study, given), run(study, (*given, "--no-share"))) for _ in range(ROUNDS)]
        epochs = pairs[0][0].epochs / pairs[0][1].epochs
        seconds, span = (
            statistics.median(
                getattr(sharing, what) / getattr(alone, what) for sharing, alone in pairs
            )
            for what in ("seconds", "span")
        )
        found += [
            (f"{study}: epochs relative to no sharing", f"{epochs:.2f}", "at most 0.5"),
            (f"{study}: seconds of the command, likewise", f"{seconds:.2f}", "at most 0.6"),
            (f"{study}: seconds from the first trial to the last, likewise", f"{span:.2f}", ""),
        ]
    return [
        *found,
        (
            "all shipped studies together: share of distinct epochs",
            f"{together():.2f}",
            "at most 0.4",
        ),
    ]


def main() -> None:
    """Print the table."""
    print(markdown(rows()))


if __name__ == "__main__":
    main()
