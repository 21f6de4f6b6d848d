"""Files of a folder that a job receives."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ibml.common.errors import IbmlError
from ibml.study.ray import job_bundle
from ibml.study.ray.job_bundle import copy_job_files

FILES = (
    "mine.yaml",
    "ablations/other.yaml",
    "plugin/code.py",
    "plugin/__pycache__/code.pyc",
    ".env",
    ".git/config",
    "mlflow.db",
    "mlflow.db-wal",
    "mlruns/a",
    "checkpoints/b",
    "reports/c/index.html",
    "data/d.bin",
)
HAND_WRITTEN = {"mine.yaml", "ablations/other.yaml", "plugin/code.py"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    for name in FILES:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    return made


def sent(folder: Path) -> set[str]:
    with copy_job_files(folder) as copy:
        return {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}


def test_results_and_hidden_files_stay(folder: Path) -> None:
    assert sent(folder) == HAND_WRITTEN | {"data/d.bin"}


def test_of_a_repository_it_is_what_git_does_not_ignore(folder: Path) -> None:
    for path in sorted((folder / ".git").iterdir()):
        path.unlink()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / ".gitignore").write_text("data/\n")
    subprocess.run(["git", "add", "mine.yaml"], cwd=folder, check=True)
    assert sent(folder) == HAND_WRITTEN
    (folder / "mine.yaml").unlink()
    assert sent(folder) == HAND_WRITTEN - {"mine.yaml"}
    assert sent(folder / "plugin") == {"code.py"}


def test_a_folder_for_temporary_files_in_it_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tmp").mkdir()
    (folder / "tmp" / "half").write_text("half")
    monkeypatch.setattr(job_bundle.tempfile, "tempdir", str(folder / "tmp"))
    assert sent(folder) == HAND_WRITTEN | {"data/d.bin"}
    assert [path.name for path in (folder / "tmp").iterdir()] == ["half"]


def test_much_is_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_bundle, "_MOST_BYTES", 2 * 2**20)
    with (folder / "data" / "d.bin").open("wb") as file:
        file.truncate(3 * 2**20)
    with pytest.raises(
        IbmlError, match=r"has 3 MiB that would be sent with the job, more than 2 \(data 3 MiB"
    ):
        sent(folder)
