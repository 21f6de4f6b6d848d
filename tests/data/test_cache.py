"""Decoded media are made once, by one process, as a whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ibml import data
from ibml.data.base import ignore_progress
from ibml.data.files.file_dataset import open_file_dataset
from ibml.data.listing import DataError
from ibml.data.sets.cremad.config import CremadConfig
from ibml.data.stores import cache
from ibml.data.stores.cache import get_stores_folder, list_cache_entries
from tests.conftest import CommandLine
from tests.data.miniatures import miniature
from tests.data.test_layouts import configuration

SCRIPT = """
import sys
from ibml import data
from ibml.data.sets.cremad.config import CremadConfig
config = CremadConfig.model_validate_json(sys.argv[1], strict=False)
data.prepare_datasets([config], lambda text: None)
print(data.fingerprint(config))
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBML_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def config(tmp_path: Path) -> CremadConfig:
    made = configuration(miniature("cremad", tmp_path / "set"))
    assert isinstance(made, CremadConfig)
    return made


def opened(config: CremadConfig) -> list[str]:
    """Open a data set and return the modalities that were decoded."""
    decoded: dict[str, int] = {}
    open_file_dataset(
        config, lambda text: None, lambda what, done, total: decoded.update({what: done})
    )
    return sorted(what for what in decoded if what.startswith("decoding"))


def test_media_are_decoded_once_for_each_preprocessing(config: CremadConfig) -> None:
    every = [
        f"decoding cremad-{split}-{name}"
        for split in ("test", "train")
        for name in ("audio", "video")
    ]
    assert opened(config) == every
    assert opened(config) == []
    longer = config.model_copy(update={"audio": config.audio.model_copy(update={"hop": 16})})
    assert opened(longer) == [name for name in every if "audio" in name]
    assert opened(config.model_copy(update={"validation": 0.5})) == []


def test_a_copy_of_the_data_elsewhere_is_not_decoded_again(
    config: CremadConfig, tmp_path: Path
) -> None:
    first = open_file_dataset(config, print, ignore_progress)
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    there = config.model_copy(update={"root": str(tmp_path / "copy")})
    assert opened(there) == []
    assert open_file_dataset(there, print, ignore_progress).fingerprint == first.fingerprint


def test_other_content_of_the_same_size_has_another_fingerprint(
    config: CremadConfig, tmp_path: Path
) -> None:
    before = open_file_dataset(config, print, ignore_progress).fingerprint
    wav = next((tmp_path / "set" / "CREMA-D" / "AudioWAV").glob("*.wav"))
    changed = bytearray(wav.read_bytes())
    changed[-1] ^= 1
    wav.write_bytes(bytes(changed))
    os.utime(wav, ns=(time.time_ns(), time.time_ns()))
    assert open_file_dataset(config, print, ignore_progress).fingerprint != before
    assert wav.stat().st_size == len(changed)


@pytest.mark.slow
def test_two_processes_make_one_store_and_a_killed_one_leaves_none(config: CremadConfig) -> None:
    command = [sys.executable, "-c", SCRIPT, config.model_dump_json()]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while (
        not list(get_stores_folder().glob("*.unfinished"))
        and killed.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert said[0] == said[1] != ""
    names = [entry.name for entry in list_cache_entries() if entry.size]
    assert (
        len(names) == 5
    )  # two of test; of train sound, and frames for evaluation and for training
    assert not [name for name in names if name.endswith(".unfinished")]
    assert opened(config) == []


def test_two_that_need_one_form_beside_different_ones_wait_for_each_other(
    config: CremadConfig,
) -> None:
    config, larger = (
        config.model_copy(
            update={"video": config.video.model_copy(update={"size": size, "stored_side": 40})}
        )
        for size in (8, 16)
    )
    second: list[Future[list[str]]] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "decoding cremad-train-video" and not second:
            second.append(pool.submit(opened, larger))
            wait(second, timeout=1)

    with ThreadPoolExecutor(1) as pool:
        open_file_dataset(config, print, progress)
        assert "decoding cremad-train-video" in second[0].result()
    assert opened(config) == opened(larger) == []


@contextmanager
def spare_descriptors(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208
    held = [os.dup(0)]
    while held[-1] < highest:
        held.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1 + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


def test_clearing_the_cache_leaves_what_it_did_not_make(
    config: CremadConfig, cli: CommandLine
) -> None:
    """IBML_CACHE may name a folder in which the user keeps data too."""
    opened(config)
    (entry, *_) = [entry for entry in list_cache_entries() if entry.size]
    users = [
        get_stores_folder() / "faces.zip",
        get_stores_folder() / "my-set" / "a.png",
        entry.path / "notes.txt",
    ]
    for path in users:
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    answer = cli.inside("data", "cache", "--clear")
    assert answer.code == 0
    assert all(path.exists() for path in users)
    assert not (entry.path / "values.bin").exists()
    assert "my-set" not in answer.out


def test_what_is_wrong_with_the_machine_is_not_kept_as_wrong_with_a_sample(tmp_path: Path) -> None:
    images = configuration({**miniature("food101", tmp_path / "images"), "use": ["image"]})
    data.prepare_datasets([images], print)
    for entry in list_cache_entries():
        entry.remove()
    said = ""
    for count in range(7):
        try:
            with spare_descriptors(count):
                open_file_dataset(images, print, ignore_progress)
        except DataError as error:
            said += str(error)
    assert re.search(r"img/.*\.png cannot be read: Too many open files", said)
    assert open_file_dataset(images, print, ignore_progress).skipped == 0


def test_a_disk_without_room_is_said_before_it_is_full(
    config: CremadConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 10**6))
    with pytest.raises(DataError, match=r"needs about .* has 0\.0 GB free; set IBML_CACHE"):
        open_file_dataset(config, print, ignore_progress)
    assert not [entry for entry in list_cache_entries() if entry.size]


def test_a_store_that_was_cut_is_not_trusted(config: CremadConfig) -> None:
    opened(config)
    values = next(get_stores_folder().glob("cremad-train-audio*/values.bin"))
    values.write_bytes(values.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"is damaged .*'ibml data cache --clear'"):
        open_file_dataset(config, print, ignore_progress)


def test_reading_lets_go_of_what_was_read(
    config: CremadConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibml.data.stores.store.RELEASE_BYTES", 1)
    dataset = data.load(config, config.modalities, 0)
    column = dataset.train.transforms["audio"]
    generator = np.random.default_rng(0)
    first = column.gather(dataset.train.rows, generator)
    assert column.store._read == 0
    assert np.array_equal(first.numpy(), column.gather(dataset.train.rows, generator).numpy())


def test_a_folder_that_cannot_be_written_is_named(
    config: CremadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IBML_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set IBML_CACHE"):
        open_file_dataset(config, print, ignore_progress)


def test_what_is_being_made_is_not_cleared(config: CremadConfig) -> None:
    opened(config)
    busy, *others = list_cache_entries()
    with busy.path.with_name(f"{busy.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not busy.remove()
        assert all(entry.remove() for entry in others)
    assert [entry.name for entry in list_cache_entries()] == [busy.name]
    assert busy.remove()
    assert list_cache_entries() == []
