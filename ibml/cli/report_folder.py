"""A folder that a report is written to, and written again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

MANIFEST = ".ibml-report.json"
"""Lists the files of the last report in a folder with the SHA-256 of each."""


def write_report(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write a report in place of an earlier one.

    Files of the earlier report that this one lacks are removed. Only a file that the folder's manifest lists, and
    whose content is what was written, counts as one: the folder may be one in which the user keeps other things.

    Args:
        folder: Where to write; made if it is not there.
        files: Content by path below the folder.

    Raises:
        OSError: If a file cannot be written.
    """
    before = _read_manifest(folder)
    contents = {
        name: content.encode() if isinstance(content, str) else content
        for name, content in files.items()
    }
    for name, content in contents.items():
        write_file(folder / name, content)
    for name in before.keys() - contents.keys():
        _remove_unchanged(folder, name, before[name])
    manifest = {name: _hash_bytes(content) for name, content in sorted(contents.items())}
    write_file(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a file, and make its folder if it is not there. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _read_manifest(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return (
        {str(name): str(digest) for name, digest in found.items()}
        if isinstance(found, dict)
        else {}
    )


def _remove_unchanged(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or path.is_symlink():
        return
    with suppress(OSError):
        if _hash_bytes(path.read_bytes()) == digest:
            path.unlink()


def _hash_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
