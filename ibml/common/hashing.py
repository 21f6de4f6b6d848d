"""Files and folders that configurations name, told apart by what is in them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ibml.common.errors import IbmlError


def hash_content(path: Path) -> str:
    """`sha256:...` of a file, or of a folder's files and their places in it, hidden ones left out.

    A file is read again only where its size or time has changed, since a study asks for its keys many times. Raises
    `IbmlError` where it cannot be read.
    """
    try:
        if not path.is_dir():
            return f"sha256:{_hash_file(path)}"
        files = {found.relative_to(path): found for found in path.rglob("*") if found.is_file()}
        shown = sorted(
            place for place in files if not any(step.startswith(".") for step in place.parts)
        )
        lines = [f"{place.as_posix()}\0{_hash_file(files[place])}\n" for place in shown]
    except OSError as error:
        raise IbmlError(f"{path} cannot be read: {error.strerror}") from None
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _hash_file(path: Path) -> str:
    status = path.stat()
    return _hash_file_cached(path, status.st_size, status.st_mtime_ns)


@cache
def _hash_file_cached(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
