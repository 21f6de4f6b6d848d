"""Atomic and checksummed files: a reader sees the complete file or none, and detects damage."""

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
"""Suffix of files that are being written."""
_LONGEST_NAME = 180
"""Maximum length of a name that is kept in full, in bytes.

File systems allow 255 bytes, and the name of the unfinished file is longer.
"""
_SEAL_SIZE = hashlib.sha256().digest_size
"""Size of the checksum at the end of a sealed file, in bytes."""


class DamagedFileError(ValueError):
    """The content of a sealed file does not match its checksum: it was truncated or changed."""


class _HashingWriter:
    """Binary writer that computes the SHA-256 of everything written through it."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.hash = hashlib.sha256()

    def write(self, content: bytes | memoryview) -> int:
        self.hash.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def write_sealed(path: StoragePath, write: Callable[[BinaryIO], None]) -> None:
    """Write a file atomically, followed by the SHA-256 of its content.

    After a crash the path has the complete new file or is as before. Read it with `read_sealed`.

    Args:
        path: File to write; its folder is created if necessary.
        write: Called once with a binary file, to which it writes the content.

    Raises:
        OSError: If the file cannot be written. No partial file is left.
    """
    with open_atomic(path) as file:
        hashed = _HashingWriter(file)
        write(hashed)  # type: ignore[arg-type]
        file.write(hashed.hash.digest())


def read_sealed(path: StoragePath) -> bytes:
    """Read a file written by `write_sealed` and verify its checksum.

    Args:
        path: File to read.

    Returns:
        The content, without the checksum.

    Raises:
        DamagedFileError: If the checksum does not match.
        OSError: If the file cannot be read.
    """
    content = path.read_bytes()
    body = content[:-_SEAL_SIZE]
    seal = content[-_SEAL_SIZE:]
    if len(seal) < _SEAL_SIZE or hashlib.sha256(body).digest() != seal:
        raise DamagedFileError(f"{path} is damaged: its checksum does not match its content")
    return body


@contextmanager
def open_atomic(path: StoragePath) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` atomically when the context ends.

    The content is flushed to disk first. If the context raises, `path` stays as it was.

    Args:
        path: File to create or replace. In a bucket, it is buffered and uploaded at the end.

    Yields:
        The binary file to write to.

    Raises:
        OSError: If the file cannot be written.
    """
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
    """Yield a temporary path whose file or folder is renamed to `path` when the context ends.

    Nothing is flushed to disk: for 100,000 small files that would take hours. If the context
    raises, the temporary file or folder is removed.

    Args:
        path: Path to create or replace.

    Yields:
        The temporary path, in the same folder. The caller creates the file or folder.

    Raises:
        OSError: If the rename fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = get_unfinished_path(path)
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        _remove(unfinished)
        raise


def remove_unfinished(folder: StoragePath) -> None:
    """Remove unfinished files from a folder if their writers have provably ended.

    The name of an unfinished file identifies its writer. Files of other hosts and containers stay,
    because their writers cannot be checked from here. Objects in a bucket are never unfinished.

    Args:
        folder: Folder to clean; subfolders are not searched.
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
    """Return True if a file name marks an unfinished file of ibml.

    Earlier versions of ibml put only the process id into the name; their files are recognized too.
    """
    return _WRITER.search(name) is not None or _WRITER_BEFORE.search(name) is not None


def get_unfinished_path(path: Path) -> Path:
    """Return the temporary path at which this process writes a file or folder."""
    writer = Owner.get_current()
    name = path.name
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[:20]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return path.with_name(f"{name}.{writer.machine}-{writer.pid}-{writer.start}{UNFINISHED}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a renamed file keeps its new name after a power failure."""
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
