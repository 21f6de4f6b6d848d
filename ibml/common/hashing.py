"""Content hashes of files and folders that configurations name."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ibml.common.errors import IbmlError


def hash_content(path: Path) -> str:
    """Return the content hash of a file or folder, as `sha256:HEX`.

    The hash of a folder covers the relative paths and contents of its files. Hidden files and
    folders are ignored. Files are hashed again only after their size or modification time changed,
    because a study computes its keys many times.

    Args:
        path: File or folder.

    Returns:
        The prefix `sha256:` and 64 hexadecimal digits.

    Raises:
        IbmlError: If a file cannot be read.
    """
    try:
        if not path.is_dir():
            return f"sha256:{_hash_file(path)}"
        relative_paths = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
        lines = []
        for relative in sorted(relative_paths):
            if not _is_hidden(relative):
                lines.append(f"{relative.as_posix()}\0{_hash_file(path / relative)}\n")
    except OSError as error:
        raise IbmlError(f"{path} cannot be read: {error.strerror}") from None
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _hash_file(path: Path) -> str:
    status = path.stat()
    return _hash_file_cached(path, status.st_size, status.st_mtime_ns)


@cache
def _hash_file_cached(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
