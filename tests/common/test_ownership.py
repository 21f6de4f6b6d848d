"""Deletion in folders that ibml shares with users, other containers and other hosts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ibml.common.atomic_files import get_unfinished_path, is_unfinished, remove_unfinished
from ibml.common.processes.ownership import (
    RECORD,
    Owner,
    open_temporary_folder,
    remove_abandoned_folders,
)

HOLD = """\
import sys
from ibml.common.processes.ownership import open_temporary_folder
with open_temporary_folder(sys.argv[1]) as folder:
    (folder.path / "ray").mkdir()
    print(folder.path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def abandoned(tmp_path: Path) -> Path:
    """A temporary folder whose process was killed."""
    holder = start(tmp_path)
    folder = folder_of(holder)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert folder.is_dir()
    return folder


def start(place: Path, *before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", HOLD, str(place)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def folder_of(holder: subprocess.Popen[str]) -> Path:
    assert holder.stdout
    return Path(holder.stdout.readline().strip())


def test_a_folder_is_removed_once_its_process_was_killed(abandoned: Path, tmp_path: Path) -> None:
    assert remove_abandoned_folders([tmp_path]) == [abandoned]
    assert not abandoned.exists()


def test_a_folder_in_use_stays_until_the_end_of_its_context(tmp_path: Path) -> None:
    holder = start(tmp_path)
    folder = folder_of(holder)
    assert remove_abandoned_folders([tmp_path]) == []
    assert (folder / "ray").is_dir()
    holder.communicate("")
    assert not folder.exists()


@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed")
def test_a_folder_of_a_process_in_another_pid_namespace_stays(tmp_path: Path) -> None:
    """Its process id may be unused here, or another process's."""
    holder = start(tmp_path, "unshare", "--fork", "--pid", "--kill-child")
    folder = folder_of(holder)
    if not folder.name:
        pytest.skip("this user may not make PID namespaces")
    try:
        assert remove_abandoned_folders([tmp_path]) == []
        assert (folder / "ray").is_dir()
    finally:
        holder.communicate("")
    assert not folder.exists()


@pytest.mark.parametrize("name", ["ibml-2024-results", "ibml-99999999-paper", "ibml-1-x", "ibml-"])
def test_a_users_folder_of_a_similar_name_stays(tmp_path: Path, name: str) -> None:
    paper = tmp_path / name / "paper.txt"
    paper.parent.mkdir()
    paper.write_text("x")
    assert remove_abandoned_folders([tmp_path]) == []
    assert paper.read_text() == "x"


@pytest.fixture
def taken(abandoned: Path, request: pytest.FixtureRequest) -> Path:
    """Return an abandoned folder after a change by a user, another host or a restart."""
    return CHANGES[request.param](abandoned)


def copied(folder: Path) -> Path:
    copy = folder.with_name("ibml-copy")
    shutil.copytree(folder, copy)
    return copy


def renamed(folder: Path) -> Path:
    return folder.rename(folder.with_name("ibml-renamed"))


def linked(folder: Path) -> Path:
    elsewhere = folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(elsewhere)
    return elsewhere


def of_another_boot(folder: Path) -> Path:
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**record, "boot": "another"}))
    return folder


def without_a_record(folder: Path) -> Path:
    (folder / RECORD).unlink()
    return folder


def with_a_nested_record(folder: Path) -> Path:
    (folder / RECORD).write_text("[" * 4096)
    return folder


def with_a_pipe_for_a_record(folder: Path) -> Path:
    (folder / RECORD).unlink()
    os.mkfifo(folder / RECORD)
    return folder


def with_an_unreadable_record(folder: Path) -> Path:
    (folder / RECORD).write_text("[]")
    return folder


CHANGES = {
    change.__name__: change
    for change in (
        copied,
        renamed,
        linked,
        of_another_boot,
        without_a_record,
        with_an_unreadable_record,
        with_a_nested_record,
        with_a_pipe_for_a_record,
    )
}


@pytest.mark.parametrize("taken", CHANGES, indirect=True)
def test_a_folder_that_is_not_provably_abandoned_stays(taken: Path) -> None:
    assert taken not in remove_abandoned_folders([taken.parent])
    assert (taken / "ray").is_dir()


@pytest.mark.parametrize("below", ["", "ray"])
def test_the_working_folder_and_its_parents_stay(
    abandoned: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(abandoned / below)
    assert remove_abandoned_folders([abandoned.parent]) == []
    monkeypatch.chdir(abandoned.parent)
    assert remove_abandoned_folders([abandoned.parent]) == [abandoned]


def test_files_that_a_dead_process_was_writing_are_removed_and_no_others(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    machine = Owner.get_current().machine
    ours = get_unfinished_path(tmp_path / "state-000001.ckpt")
    dead = tmp_path / f"state-000001.ckpt.{machine}-{ended.pid}-1.unfinished"
    reused = tmp_path / f"state-000001.ckpt.{machine}-{os.getpid()}-1.unfinished"
    elsewhere = tmp_path / f"state-000001.ckpt.{'0' * 16}-{ended.pid}-1.unfinished"
    users = [tmp_path / "paper.unfinished", tmp_path / f"paper.{ended.pid}.unfinished"]
    for path in (ours, dead, reused, elsewhere, *users):
        path.write_text("x")
    remove_unfinished(tmp_path)
    assert set(tmp_path.iterdir()) == {ours, elsewhere, *users}
    assert all(map(is_unfinished, (ours.name, dead.name, elsewhere.name)))
    assert not is_unfinished("paper.unfinished")


def test_an_owner_that_lives_is_not_dead() -> None:
    assert not Owner.get_current().is_dead()
    init = Owner(Owner.get_current().machine, 1, "1")
    assert isinstance(init.is_dead(), bool)


def test_a_folder_that_was_replaced_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with open_temporary_folder(tmp_path) as folder:
        folder.path.rename(tmp_path / "away")
        folder.path.mkdir()
        (folder.path / "paper.txt").write_text("x")
    assert (folder.path / "paper.txt").exists()
