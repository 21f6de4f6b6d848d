"""Digests of the current content of files, and their cache."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from pathlib import Path

import pytest

from ibml.data.base import ignore_progress
from ibml.data.stores import digests as module
from ibml.data.stores.digests import compute_digests


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBML_CACHE", str(tmp_path / "cache"))


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_read_again(
    tmp_path: Path,
) -> None:
    for name, content in (("a", b"old"), ("b", b"new")):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    before = compute_digests(tmp_path, ["a"], ignore_progress)
    (tmp_path / "b").replace(tmp_path / "a")
    assert before == {"a": hashlib.sha256(b"old").hexdigest()}
    assert compute_digests(tmp_path, ["a"], ignore_progress) == {
        "a": hashlib.sha256(b"new").hexdigest()
    }


def test_nobody_waits_for_one_who_reads_files(tmp_path: Path) -> None:
    files = [str(number) for number in range(module._CHUNK + 1)]
    for name in files:
        (tmp_path / name).write_text(name)
    free: list[bool] = []

    def progress(what: str, done: int, total: int) -> None:
        other = sqlite3.connect(tmp_path / "cache" / "digests.db", timeout=0)
        other.execute("BEGIN IMMEDIATE")
        free.append(True)
        other.close()

    compute_digests(tmp_path, files, progress)
    assert len(free) == 2


def test_one_who_cannot_write_down_what_it_read_waits_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.5)
    compute_digests(tmp_path, [], ignore_progress)
    for name in "abcdef":
        (tmp_path / name).write_text(name)
    other = sqlite3.connect(tmp_path / "cache" / "digests.db")
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    assert None not in compute_digests(tmp_path, "abcdef", ignore_progress).values()
    assert time.monotonic() - began < 2.5
    other.close()
