"""What a trial costs besides its training: `python -m tests.benchmarks.orchestration [TRIALS]`, or `make bench`.
About a quarter of an hour on two cores.

A study whose trainings are nearly nothing (two perceptrons, 16 samples, 20 epochs) is run by the real command into
MLflow on SQLite, with spool, checkpoints and progress: 200 trials and 2,000 (TRIALS), and then 1,000 of these again,
which all have a result. Beside it as many reports go through `tune.Tuner` with Ray's own `MLflowLoggerCallback`. Trials
of both are taken in rounds, so that what else the machine does falls on both alike.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.tables import Row, markdown

ROOT = Path(__file__).parent.parent.parent
ARMS, EPOCHS, METRICS = 20, 20, 6
FEW, MANY = 200, 2000
ROUNDS = 3
AROUND = 100
"""Trials over which the cost of a trial around a number is taken."""

DATA = """\
import numpy as np

from ibml.config.base import Config
from ibml.data.base import Dataset, Source, Split


class Tiny(Source):
    class Options(Config):
        samples: int = 16

    @property
    def kinds(self):
        return {"first": "vector", "second": "vector"}

    def fingerprint(self):
        return f"tiny {self.options.samples}"

    def load(self, modalities, seed):
        generator = np.random.default_rng(seed)
        split = Split(
            {name: generator.normal(size=(self.options.samples, 4)).astype(np.float32) for name in modalities},
            np.arange(self.options.samples) % 2,
        )
        return Dataset(("0", "1"), split, split, split)
"""
STUDY = f"""\
name: tiny
base:
  data: {{type: plugin, target: "tiny:Tiny"}}
  encoders: {{default: {{type: mlp, hidden: [4], features: 4}}}}
  fusion: {{type: concat}}
  method: {{type: joint}}
overrides: {{trainer.epochs: {EPOCHS}, trainer.batch_size: 16}}
design:
  type: one_factor
  factors: {{optimizer.weight_decay: [{", ".join(f"{n / 1000}" for n in range(1, ARMS))}]}}
seeds: %SEEDS%
"""

_DRIVE = """
import json, re, sys, time
from ibml.study.engine.progress import StudyProgress

began, file = float(sys.argv[1]), open(sys.argv[2], "w")

def noting(method, what):
    def noted(self, *arguments, **options):
        file.write(json.dumps([what, time.time() - began, time.process_time()]) + "\\n")
        return method(self, *arguments, **options)
    return noted

StudyProgress.record_trial_start = noting(StudyProgress.record_trial_start, "began")
StudyProgress.record_trial_end = noting(StudyProgress.record_trial_end, "ended")
from ibml.cli.main import app
try:
    code = app(["ablate", "tiny.yaml", "--allow-plugin", "tiny", *sys.argv[3:]], standalone_mode=False)
finally:
    # not ru_maxrss, which a process has from the one that started it
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
    file.write(json.dumps(["over", time.time() - began, peak]) + "\\n")
sys.exit(code)
"""
_REFERENCE = f"""
import sys, time
import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

class Reports(tune.Trainable):
    def setup(self, config):
        self.reset_config(config)

    def reset_config(self, config):
        self.number = 0
        return True

    def step(self):
        self.number += 1
        return {{**{{f"metric {{m}}": m + self.number / 7 for m in range({METRICS})}}, "done": self.number == {EPOCHS}}}

    def save_checkpoint(self, folder):
        return None

class Times(tune.Callback):
    begun = ended = 0.0

    def on_trial_start(self, **info):
        self.begun = self.begun or time.time()

    def on_trial_complete(self, **info):
        self.ended = time.time()

ray.init(include_dashboard=False, log_to_driver=False)
times = Times()
logger = MLflowLoggerCallback(tracking_uri="sqlite:///reference.db", experiment_name="reference")
tune.Tuner(
    Reports,
    param_space={{"number": tune.grid_search(list(range(int(sys.argv[1]))))}},
    tune_config=tune.TuneConfig(reuse_actors=True),
    run_config=tune.RunConfig(storage_path=sys.argv[2], callbacks=[logger, times], verbose=0),
).fit()
print((times.ended - times.begun) / int(sys.argv[1]))
"""


@dataclass(frozen=True)
class Run:
    """What a run of the study has shown: seconds from the command's start at which trials began and ended, the driver's
    seconds of CPU when they ended, and what all trainings took."""

    began: list[float]
    ended: list[float]
    cpu: list[float]
    trained: float
    seconds: float
    peak: float

    @property
    def wall(self) -> float:
        """Seconds a trial, from the first trial's beginning to the last one's end."""
        return (self.ended[-1] - self.began[0]) / len(self.ended)

    @property
    def besides(self) -> float:
        """The same without what the trainings took of the workers."""
        return self.wall - self.trained / len(self.ended) / (os.cpu_count() or 1)

    def around(self, number: int, what: list[float]) -> float:
        """Seconds a trial in the neighbourhood of the one that ended as this number."""
        first, last = max(number - AROUND, 1), min(number + AROUND, len(what)) - 1
        return (what[last] - what[first]) / (last - first)


class Folder:
    """A folder in which the study and the reference are run, with a home of its own."""

    def __init__(self, path: Path):
        self.path = path
        for name in ("home", "tmp"):
            (path / name).mkdir(parents=True, exist_ok=True)
        (path / "tiny.py").write_text(DATA)
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW", "RAY", "IBML"))
        }
        self.environment = {
            **plain,
            "HOME": str(path / "home"),
            "TMPDIR": str(path / "tmp"),
            "PYTHONPATH": f"{ROOT}:{path}",
        }

    def study(self, trials: int, store: str) -> Run:
        """Run the study with so many trials into a store."""
        (self.path / "tiny.yaml").write_text(STUDY.replace("%SEEDS%", str(trials // ARMS)))
        before = self._trained(store)
        notes = self.path / "notes"
        uri = f"sqlite:///{self.path}/{store}/mlflow.db"
        (self.path / store).mkdir(exist_ok=True)
        self._python(_DRIVE, str(time.time()), str(notes), "--tracking-uri", uri)
        lines = [json.loads(line) for line in notes.read_text().splitlines()]
        *marks, (_, seconds, peak) = lines
        return Run(
            [at for what, at, _ in marks if what == "began"],
            [at for what, at, _ in marks if what == "ended"],
            [cpu for what, _, cpu in marks if what == "ended"],
            self._trained(store) - before,
            seconds,
            peak,
        )

    def reference(self, trials: int) -> float:
        """Seconds a trial that Tune's own logger takes."""
        return float(self._python(_REFERENCE, str(trials), str(self.path / "tune")).split()[-1])

    def _trained(self, store: str) -> float:
        file = self.path / store / "mlflow.db"
        if not file.exists():
            return 0.0
        with sqlite3.connect(file) as database:
            return database.execute(
                "select total(value) from latest_metrics where key = 'time.total'"
            ).fetchone()[0]

    def _python(self, code: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done.stdout


def rows(many: int = MANY) -> list[Row]:
    """(what, figure, goal) of everything that is measured."""
    with tempfile.TemporaryDirectory(prefix="ibml-bench-") as temporary:
        folder = Folder(Path(temporary))
        few, references = [], []
        for number in range(ROUNDS):
            few.append(folder.study(FEW, f"few{number}"))
            references.append((20, folder.reference(20)))
        references.append((FEW, folder.reference(FEW)))
        long = folder.study(many, "many")
        folder.study(many // 2, "many")  # with a report of its own
        again = folder.study(many // 2, "many")
    besides = statistics.median(run.besides for run in few)
    reference = statistics.median(seconds for _, seconds in references)
    shown = ", ".join(f"{seconds:.2f} (of {trials})" for trials, seconds in references)
    wall, cpu = ([long.around(n, what) for n in (FEW, many)] for what in (long.ended, long.cpu))
    return [
        (f"seconds a trial, {FEW} trials", f"{statistics.median(run.wall for run in few):.3f}", ""),
        (f"the same besides training, {FEW} trials", f"{besides:.3f}", "at most 0.4"),
        (f"the same, {many:,} trials", f"{long.besides:.3f}", "at most 0.4"),
        ("Tune with MLflowLoggerCallback, seconds a trial", shown, ""),
        ("times less than that", f"{reference / besides:.1f}", "at least 10"),
        (f"trial {many:,} by trial {FEW}, seconds", f"{wall[1] / wall[0]:.2f}", "at most 1.2"),
        (
            f"trial {many:,} by trial {FEW}, the driver's CPU",
            f"{cpu[1] / cpu[0]:.2f}",
            "at most 1.2",
        ),
        (f"peak memory of the driver at {many:,} trials, MB", f"{long.peak:.0f}", "below 1,000"),
        (
            "seconds to the first trial",
            f"{statistics.median(run.began[0] for run in few):.1f}",
            "at most 10",
        ),
        (
            f"seconds from the last of {many:,} trials to the end, report included",
            f"{long.seconds - long.ended[-1]:.1f}",
            "",
        ),
        (
            f"seconds of {many // 2:,} trials that all have a result",
            f"{again.seconds:.1f}",
            "at most 10",
        ),
    ]


def main(many: int) -> None:
    print(markdown(rows(many)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MANY)
