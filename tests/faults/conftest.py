"""A study with injected faults, its undisturbed result, and counts of lost and repeated trials."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from dataclasses import dataclass, field

import psutil
import pytest

from ibml.common.atomic_files import UNFINISHED
from ibml.training.checkpoint_retention import SELECTED
from tests.conftest import CommandLine

STUDY = """\
name: shaken
base: mfeat
overrides: {trainer.epochs: 150, trainer.checkpoint_seconds: 0.2}
design:
  type: arms
  reference: Joint
  arms:
    Joint: {method.type: joint}
    IBML: {method.window.first_epoch: 60}  # until then it has the epochs of the other arm
seeds: 4
"""
TRIALS, EPOCHS = 8, 150
RAY = ("--backend", "ray")
BACKEND = (
    RAY
    if os.environ.get("IBML_TEST_BACKEND") == "ray"
    else ("--backend", "local", "--workers", "2")
)
"""Return the backend of faults that do not concern Ray: Ray in `make faults`, else local."""


@dataclass
class Figures:
    """Counts of one kind of fault: injections, and trials lost or recorded twice."""

    tried: int = 0
    lost: int = 0
    twice: int = 0


COUNTED = pytest.StashKey[dict[str, Figures]]()


@dataclass
class Tally:
    """Adds to the figures of one kind of fault."""

    counted: dict[str, Figures]

    def __call__(self, fault: str, tried: int, lost: int = 0, twice: int = 0) -> None:
        figures = self.counted.setdefault(fault, Figures())
        figures.tried, figures.lost, figures.twice = (
            figures.tried + tried,
            figures.lost + lost,
            figures.twice + twice,
        )


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return Tally(request.config.stash.setdefault(COUNTED, {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    counted = config.stash.get(COUNTED, {})
    if counted:
        terminalreporter.section("faults")
        terminalreporter.write_line(f"{'fault':45} tried  lost  twice")
        for fault, f in counted.items():
            terminalreporter.write_line(f"{fault:45} {f.tried:5} {f.lost:5} {f.twice:6}")


@dataclass
class Shaken:
    """The study in a folder of its own."""

    cli: CommandLine
    expected: dict[str, str] = field(default_factory=dict)
    uri: tuple[str, ...] = ()

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start a driver, on the backend of `BACKEND` unless the options name another."""
        return self.cli.start("ablate", "shaken.yaml", *self.uri, *(options or BACKEND))

    def run(self, *options: str) -> str:
        """Run a driver to its end."""
        answer = self.cli("ablate", "shaken.yaml", *self.uri, *(options or BACKEND))
        assert answer.code == 0, answer.err + answer.out
        return answer.out

    def tables(self) -> dict[str, str]:
        """The table in every format, as it is printed."""
        found = {}
        for form in ("text", "csv", "json", "latex", "html", "markdown"):
            answer = self.cli.inside("table", "shaken", *self.uri, "--format", form)
            assert answer.code == 0, answer.err
            found[form] = answer.out
        return found

    def rows(self, sql: str) -> list[tuple]:
        connection = sqlite3.connect(self.cli.folder / "mlflow.db", timeout=30)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def check(self, tally: Tally, fault: str, tried: int) -> None:
        """Check the study after a fault.

        The table equals that of an undisturbed run. Every key has one run, with every epoch once
        and in order. No files or processes remain.
        """
        keys = [key for (key,) in self.rows(_ACTIVE + "and t.key = 'ibml.key'")]
        finished = self.rows(
            _ACTIVE + "and t.key = 'ibml.status' and t.value = 'finished' and r.status = 'FINISHED'"
        )
        tally(fault, tried, TRIALS - len(finished), len(keys) - len(set(keys)))
        assert len(finished) == TRIALS
        assert len(set(keys)) == len(keys) == TRIALS
        assert self.tables() == self.expected
        logged = self.rows(
            "select m.key, count(*), count(distinct m.step), max(m.step) "
            "from metrics m join runs r using (run_uuid) "
            "where r.lifecycle_stage = 'active' and (m.key like 'val.%' or m.key like 'train.%') "
            "group by run_uuid, m.key"
        )
        assert logged
        assert {row[1:] for row in logged} == {(EPOCHS, EPOCHS, EPOCHS - 1)}
        backwards = self.rows(
            "select 1 from metrics a join metrics b using (run_uuid, key) "
            "where a.key = 'val.loss' and a.step < b.step and a.timestamp > b.timestamp"
        )
        assert not backwards, "a later epoch has an earlier time"
        trained_twice = self.rows(
            "select 1 from metrics m join runs r using (run_uuid) "
            "where r.lifecycle_stage = 'deleted'"
        )
        assert not trained_twice
        self.check_files()
        self.check_processes()

    def check_files(self) -> None:
        """Check that only the selected weights of each trial and the shared states remain."""
        kept = [path for path in self.cli.folder.glob("checkpoints/*/*/**/*") if path.is_file()]
        kept = [path for path in kept if path.parent.name != "stages"]
        assert {path.name for path in kept} == {SELECTED}
        assert len(kept) == TRIALS
        assert not list(self.cli.folder.rglob(f"*{UNFINISHED}"))
        assert not list((self.cli.folder / "tmp").glob("ibml-*"))

    def check_processes(self) -> None:
        assert not self.processes()

    def processes(self) -> list[psutil.Process]:
        """Return the processes whose home is this folder, except those of the test itself."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get("HOME") == str(self.cli.folder)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found


_ACTIVE = (
    "select t.value from tags t join runs r using (run_uuid) where r.lifecycle_stage = 'active' "
)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tables of the study when nothing happens to it."""
    cli = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    cli.write("shaken.yaml", STUDY)
    answer = cli.study("ablate", "shaken.yaml")
    assert answer.code == 0, answer.err
    return Shaken(cli).tables()


@pytest.fixture
def shaken(cli: CommandLine, undisturbed: dict[str, str]) -> Shaken:
    cli.write("shaken.yaml", STUDY)
    return Shaken(cli, undisturbed)


def workers_of(driver: int) -> list[psutil.Process]:
    """The processes of a driver's own cluster that train."""
    started = psutil.Process(driver).children(recursive=True)
    return [
        process
        for process in started
        if process.is_running() and "Trainable" in " ".join(process.cmdline())
    ]
