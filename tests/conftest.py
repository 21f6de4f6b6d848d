"""Shared fixtures: configurations, small data, and the command line in its own folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ibml.cli.main import app
from ibml.config.trial import TrialConfig
from ibml.data.base import Dataset, Split
from ibml.data.sets.mfeat.config import MfeatConfig
from ibml.tracking.store import experiment
from tests.support.ray_cluster import RayCluster, start_cluster
from tests.support.stores import EMPTY_STORE, create_tables

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Answer:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


TRAINING = {"ablate", "tune", "train"}
"""Commands that create the store."""
OTHER_STORE = {"--dry-run", "--submit", "--tracking-uri"}
"""Options with which they do not create it in the folder."""


class CommandLine:
    """`ibml` in a folder, with a home and a temporary folder of its own.

    A command runs in this process by `study` and `inside`, which are faster. It runs in a new
    process by `cli(...)` or `start`, for tests of signals, streams, environments, imports and Ray.

    Args:
        folder: The working folder.
        copies_store: Whether to copy an empty store for processes that train, because creating
            MLflow's tables is slow.
    """

    def __init__(self, folder: Path, copies_store: bool = True):
        self.folder, self.copies_store = folder, copies_store
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "RAY"))},
            "HOME": str(folder),
            "TMPDIR": str(temporary),
            "COLUMNS": "120",
        }

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start in a process group of its own, as a shell does."""
        self._copy_store(arguments)
        return subprocess.Popen(
            [sys.executable, "-m", "ibml", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _copy_store(self, arguments: Sequence[str]) -> None:
        database = self.folder / "mlflow.db"
        creates = {*arguments[:1]} & TRAINING and not OTHER_STORE & {*arguments}
        if (
            creates
            and self.copies_store
            and "MLFLOW_TRACKING_URI" not in self.environment
            and not database.exists()
        ):
            EMPTY_STORE.copy_to(database, self.folder)

    def study(self, *arguments: str) -> Answer:
        """Run `ablate` or `tune` in this process on the local backend, which starts faster."""
        return self.inside(*arguments, "--backend", "local")

    def inside(self, *arguments: str) -> Answer:
        """Run the command in this process, which saves the import of mlflow.

        Raises:
            Exception: If the command would print a traceback.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        return Answer(done.exit_code, done.stdout, done.stderr)

    def __call__(self, *arguments: str) -> Answer:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return Answer(process.returncode, out, err)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the files for pytest-xdist, so that its workers begin with the slowest."""
    if not hasattr(config, "workerinput"):
        return
    weights: dict[Path, int] = {}
    for item in items:
        seconds = 1 + 50 * any(item.iter_markers("slow")) + 200 * any(item.iter_markers("faults"))
        weights[item.path] = weights.get(item.path, 0) + seconds
    items.sort(key=lambda item: -weights[item.path])


@pytest.fixture(autouse=True, scope="session")
def in_foreground() -> None:
    """Restore SIGINT for child processes if the tests run in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Redirect the temporary folder and the user's cache of ibml into pytest's temporary folder."""
    place = str(tmp_path_factory.mktemp("tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", place)
        patch.setattr(tempfile, "tempdir", place)
        patch.setenv("IBML_CACHE", f"{place}/cache")
        yield


@pytest.fixture(autouse=True, scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let MLflow databases of this process begin as copies of an empty one."""
    folder = tmp_path_factory.getbasetemp()
    EMPTY_STORE.folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            experiment, "_create_tables", lambda database: EMPTY_STORE.copy_to(database, Path.cwd())
        )
        yield


@pytest.fixture
def created_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow create the tables itself, for tests of that."""
    monkeypatch.setattr(experiment, "_create_tables", create_tables)


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture(scope="module")
def shared_cli(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """One folder for a module's tests, for those that look at different sides of the same study."""
    return CommandLine(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """Start a Ray cluster for all tests of this worker. No test may stop it or part of it."""
    environment = CommandLine(tmp_path_factory.mktemp("ray")).environment
    with start_cluster(environment, free_port(), cpus=2, gpus=1) as cluster:
        yield cluster


@pytest.fixture
def trial() -> Callable[..., TrialConfig]:
    """A trial on the embedded data from nested parts; two epochs unless they say otherwise."""

    def build(**parts: object) -> TrialConfig:
        parts.setdefault("data", {"type": "mfeat"})
        parts.setdefault("trainer", {"epochs": 2})
        return TrialConfig.model_validate(parts)

    return build


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make views of the embedded data have other kinds: `kinds(pix="image", zer="text")`."""

    def stand_for(**given: str) -> None:
        monkeypatch.setattr(
            MfeatConfig, "kinds", property(lambda config: {n: given[n] for n in config.views})
        )

    return stand_for


def vectors(
    samples: int = 24, widths: tuple[int, ...] = (5, 3), classes: int = 3, seed: int = 0
) -> Dataset:
    """Random vectors as modalities pix, zer, fou, ..., the same in every split."""
    generator = np.random.default_rng(seed)
    names = ("pix", "zer", "fou", "kar")[: len(widths)]
    inputs = {
        n: generator.normal(size=(samples, w)).astype(np.float32)
        for n, w in zip(names, widths, strict=True)
    }
    split = Split(inputs, np.arange(samples) % classes)
    return Dataset(tuple(map(str, range(classes))), split, split, split)
