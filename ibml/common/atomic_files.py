"""Files that are whole or not there, and that say whether they are what was written."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ibml.common.processes.ownership import Owner
from ibml.common.storage import ObjectPath, StoragePath, remove_tree

UNFINISHED = ".unfinished"
"""The end of the name of a file that is being written."""
_LONGEST_NAME = 180
"""File systems take names of 255 bytes, and that of an unfinished file is longer."""
_SEAL_SIZE = hashlib.sha256().digest_size


class DamagedFileError(ValueError):
    """A sealed file that is not what was written: cut off, or changed."""


class _HashingWriter:
    """A file that takes note of what is written to it."""

    def __init__(self, file: BinaryIO):
        self.file, self.hash = file, hashlib.sha256()

    def write(self, content: bytes | memoryview) -> int:
        self.hash.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def write_sealed(path: StoragePath, write: Callable[[BinaryIO], None]) -> None:
    """Write a file by `write` and a SHA-256 behind it. Under its name it is whole or, after a crash too, not there at
    all. Raises `OSError`, and leaves nothing behind then."""
    with open_atomic(path) as file:
        hashed = _HashingWriter(file)
        write(hashed)  # type: ignore[arg-type]
        file.write(hashed.hash.digest())


def read_sealed(path: StoragePath) -> bytes:
    """What was written to a sealed file; raises `DamagedFileError` or `OSError`."""
    content = path.read_bytes()
    body, seal = content[:-_SEAL_SIZE], content[-_SEAL_SIZE:]
    if len(seal) < _SEAL_SIZE or hashlib.sha256(body).digest() != seal:
        raise DamagedFileError(f"{path} is damaged: its checksum is not that of its content")
    return body


@contextmanager
def open_atomic(path: StoragePath) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end of the context, and only then and as a whole."""
    if isinstance(path, ObjectPath):
        content = BytesIO()
        yield content
        path.write_bytes(content.getvalue())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = get_unfinished_path(path)
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """A name at which a file or a folder is made that takes the place of `path` at the end of the context, and only
    then and as a whole. Nothing waits for the disk, which for a hundred thousand small files would take hours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = get_unfinished_path(path)
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        _remove(unfinished)
        raise


def remove_unfinished(folder: StoragePath) -> None:
    """Remove what processes that provably ended were writing into a folder.

    The name of an unfinished file carries its writer. What another host or container was writing stays, since nothing
    here proves that it ended. Objects in a bucket are never unfinished.
    """
    if isinstance(folder, ObjectPath):
        return
    for path in folder.glob(f"*{UNFINISHED}"):
        writer = _WRITER.search(path.name)
        if writer and Owner(writer[1], int(writer[2]), writer[3]).is_dead():
            _remove(path)


_WRITER = re.compile(rf"\.([0-9a-f]{{16}})-(\d{{1,9}})-(\d+){re.escape(UNFINISHED)}$")
_WRITER_BEFORE = re.compile(rf"\.\d{{1,9}}{re.escape(UNFINISHED)}$")


def is_unfinished(name: str) -> bool:
    """Return whether a file of this name was being written by ibml; earlier versions named the process id alone."""
    return _WRITER.search(name) is not None or _WRITER_BEFORE.search(name) is not None


def get_unfinished_path(path: Path) -> Path:
    """Return where this process writes a file or folder before it gets its name."""
    writer, name = Owner.get_current(), path.name
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[:20]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return path.with_name(f"{name}.{writer.machine}-{writer.pid}-{writer.start}{UNFINISHED}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Only then a renamed file survives a power failure under its new name."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
