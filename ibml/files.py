"""Files that are whole or not there, and that say whether they are what was written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".unfinished"
"""The end of the name of a file that is being written."""
_SEAL = hashlib.sha256().digest_size


class DamagedFileError(ValueError):
    """A sealed file that is not what was written: cut off, or changed."""


class _Hashed:
    """A file that takes note of what is written to it."""

    def __init__(self, file: BinaryIO):
        self.file, self.hash = file, hashlib.sha256()

    def write(self, content: bytes | memoryview) -> int:
        self.hash.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def write_sealed(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file by `write` and a SHA-256 behind it. Under its name it is whole or, after a crash too, not there at
    all. Raises `OSError`, and leaves nothing behind then."""
    with replacing(path) as file:
        hashed = _Hashed(file)
        write(hashed)  # type: ignore[arg-type]
        file.write(hashed.hash.digest())


def read_sealed(path: Path) -> bytes:
    """What was written to a sealed file; raises `DamagedFileError` or `OSError`."""
    content = path.read_bytes()
    body, seal = content[:-_SEAL], content[-_SEAL:]
    if len(seal) < _SEAL or hashlib.sha256(body).digest() != seal:
        raise DamagedFileError(f"{path} is damaged: its checksum is not that of its content")
    return body


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end of the context, and only then and as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
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


def _sync_folder(folder: Path) -> None:
    """Only then a renamed file survives a power failure under its new name."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
