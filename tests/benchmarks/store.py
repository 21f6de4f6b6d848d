"""Measures reading from a large store: `python -m tests.benchmarks.store [RUNS] [FOLDER]`, or `make bench`. Two minutes
and 1 GB of the disk for 10,000 runs.

A study of 30 arms with 12 metrics and 40 epochs a trial is written straight into MLflow's tables, since that many runs
would take the API most of an hour. Then new processes read it; the first of them has no cache yet. A FOLDER is kept,
and only read by the next call.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ibml.common.yaml.documents import dump
from ibml.config.study.table import TableConfig
from ibml.config.trial import TrialConfig
from ibml.records import StudyRecord, TrialEntry
from ibml.study.engine.run_metadata import build_run_parameters
from ibml.study.planning.cells import Cell
from ibml.tracking.store.epochs_csv import EPOCHS_FILE, format_epochs
from ibml.tracking.store.mlflow_store import MlflowStore

STUDY = "large"
EPOCH_METRICS = (
    "train.loss",
    "val.loss",
    "val.accuracy",
    "val.accuracy.fou",
    "val.accuracy.zer",
    "time.epoch",
)
FINAL_METRICS = (
    "test.loss",
    "test.accuracy",
    "test.accuracy.fou",
    "test.accuracy.zer",
    "test.gap",
    "time.total",
)
START = 1_700_000_000_000
"""The first run's beginning in milliseconds. A run begins every minute, and takes a second."""
MINUTE = 60_000


@dataclass(frozen=True)
class Trial:
    """A trial of the study; its numbers follow from its place."""

    arm: str
    seed: int
    number: int

    @property
    def key(self) -> str:
        return sha256(f"key {self.number}".encode()).hexdigest()

    @property
    def run_id(self) -> str:
        return sha256(f"run {self.number}".encode()).hexdigest()[:32]

    def value(self, metric: int, epoch: int) -> float:
        return metric + self.number / 7919 + epoch / 101


def study_trials(runs: int, arms: int) -> list[Trial]:
    """Seed by seed, as studies train."""
    return [Trial(f"arm {n % arms}", n // arms, n) for n in range(runs)]


def make_store(folder: Path, runs: int, arms: int = 30, epochs: int = 40) -> str:
    """The URI of a new store in the folder, with a study whose trials are all finished."""
    uri = f"sqlite:///{folder}/mlflow.db"
    store = MlflowStore(uri, "ibml")
    trials = study_trials(runs, arms)
    with store.open_run("study", _record(trials, arms, epochs), f"name: {STUDY}\n") as opened:
        opened.status = "FINISHED"
    database = sqlite3.connect(folder / "mlflow.db")
    with database:
        for table, rows in _tables(store, opened.run_id, trials, epochs).items():
            names = ", ".join(rows[0])
            marks = ", ".join("?" * len(rows[0]))
            database.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows[1])
    database.close()
    for trial in trials:
        _write_artifacts(folder / "mlruns" / "ibml" / trial.run_id / "artifacts", trial, epochs)
    return uri


def _record(trials: list[Trial], arms: int, epochs: int) -> StudyRecord:
    return StudyRecord(
        name=STUDY,
        description="How long does reading take?",
        file_hash="0123456789abcdef",
        overrides=(),
        reference="arm 0",
        arms=tuple(f"arm {n}" for n in range(arms)),
        datasets=("mfeat",),
        seeds=tuple(sorted({trial.seed for trial in trials})),
        epochs={"mfeat": (epochs,)},
        notes=(),
        metrics=("test.accuracy", "test.gap"),
        table=TableConfig(),
        trials=tuple(
            TrialEntry(arm=t.arm, dataset="mfeat", seed=t.seed, key=t.key) for t in trials
        ),
    )


def _tables(
    store: MlflowStore, parent: str, trials: list[Trial], epochs: int
) -> dict[str, tuple[tuple[str, ...], Iterator[tuple[object, ...]]]]:
    """Table -> its columns and rows. Metrics come in the order of their primary key, which is fastest."""
    place = store.client.get_experiment(store.experiment_id).artifact_location
    experiment = int(store.experiment_id)
    last = epochs - 1
    points = ((m, e) for m, e in itertools.product(range(len(EPOCH_METRICS)), range(epochs)))
    names = enumerate(EPOCH_METRICS + FINAL_METRICS)
    return {
        "runs": (
            ("run_uuid", "name", "source_type", "user_id", "status", "start_time", "end_time", "lifecycle_stage",
             "artifact_uri", "experiment_id"),
            (
                (t.run_id, f"{t.arm} · seed {t.seed}", "UNKNOWN", "me", "FINISHED", START + MINUTE * t.number,
                 START + MINUTE * t.number + 1000, "active", f"{place}/{t.run_id}/artifacts", experiment)
                for t in trials
            ),
        ),
        "tags": (
            ("run_uuid", "key", "value"),
            ((t.run_id, key, value) for t in trials for key, value in _tags(t, parent).items()),
        ),
        "params": (
            ("run_uuid", "key", "value"),
            ((t.run_id, key, str(value)) for t in trials for key, value in _parameters(t).items()),
        ),
        "latest_metrics": (
            ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
            ((name, t.value(m, last), START, last, 0, t.run_id) for m, name in names for t in trials),
        ),
        "metrics": (
            ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
            ((EPOCH_METRICS[m], t.value(m, e), START, e, 0, t.run_id) for m, e in points for t in trials),
        ),
    }  # fmt: skip


def _tags(trial: Trial, parent: str) -> dict[str, str]:
    return {
        "ibml.kind": "trial",
        "ibml.study": STUDY,
        f"ibml.study.{STUDY}": trial.arm,
        "ibml.key": trial.key,
        "ibml.arm": trial.arm,
        "ibml.dataset": "mfeat",
        "ibml.seed": str(trial.seed),
        "ibml.data": "0" * 64,
        "ibml.shape": "1" * 64,
        "ibml.revision": "0.1.0-g0123456789",
        "ibml.platform": "cpu x86_64, torch 2.6.0",
        "ibml.reason": "",
        "ibml.status": "finished",
        "mlflow.parentRunId": parent,
        "mlflow.runName": f"{trial.arm} · seed {trial.seed}",
        "mlflow.source.name": "ibml",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": "me",
    }


_CONFIG = TrialConfig.model_validate({"data": {"type": "mfeat"}})
_PARAMETERS = build_run_parameters(Cell("mfeat", "", _CONFIG, {}), _CONFIG)


def _parameters(trial: Trial) -> dict[str, object]:
    return _PARAMETERS | {"arm": trial.arm, "seed": trial.seed}


def _write_artifacts(folder: Path, trial: Trial, epochs: int) -> None:
    folder.mkdir(parents=True)
    rows = [
        {"epoch": e, **{n: trial.value(m, e) for m, n in enumerate(EPOCH_METRICS)}}
        for e in range(epochs)
    ]
    (folder / EPOCHS_FILE).write_text(format_epochs(rows))
    (folder / "config.yaml").write_text(_CONFIG_TEXT)


_CONFIG_TEXT = dump(_CONFIG.model_dump(mode="json"))


_TABLE = """
import resource, sys
from ibml.cli.main import app
app(["table", "large", "--tracking-uri", sys.argv[1]], standalone_mode=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{peak:.0f}", file=sys.stderr)
"""
_READ = """
import sys, time
from ibml.tracking.store.mlflow_store import MlflowStore
store = MlflowStore(sys.argv[1], "ibml")
store.experiment_id
begun = time.perf_counter()
results = store.results()
read = time.perf_counter()
chosen = [record.run_id for record in list(results.values())[:1000]]
curves = store.read_curves(chosen, ["val.accuracy"])
drawn = time.perf_counter()
print(f"{read - begun:.2f} s for {len(results):,} results, {drawn - read:.2f} s for {len(curves):,} curves")
"""


def measure(uri: str, cache: Path) -> None:
    """The table in two new processes, the first without a cache; then results and curves alone."""
    environment = {**os.environ, "IBML_CACHE": str(cache)}
    for which in ("first", "second"):
        begun = time.perf_counter()
        done = _python(_TABLE, uri, environment)
        took = time.perf_counter() - begun
        print(f"{which} `ibml table`: {took:.1f} s, at most {done.stderr.split()[-1]} MB of memory")
    print(f"read again: {_python(_READ, uri, environment).stdout.strip()}")


def _python(code: str, uri: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, uri]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


def main(runs: int, folder: Path) -> None:
    if not (folder / "mlflow.db").exists():
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        make_store(folder, runs)
        print(f"{runs:,} runs were made in {time.perf_counter() - begun:.0f} s")
    with tempfile.TemporaryDirectory(prefix="ibml-cache-") as cache:
        measure(f"sqlite:///{folder}/mlflow.db", Path(cache))


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    if len(sys.argv) > 2:
        main(number, Path(sys.argv[2]).absolute())
    else:
        with tempfile.TemporaryDirectory(prefix="ibml-bench-") as temporary:
            main(number, Path(temporary))
