"""Which of a folder's files go with a job: what is written by hand, and not data or results."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from ibml.common.errors import IbmlError

_LEFT = (
    "checkpoints",
    "ibml-checkpoints",
    "reports",
    "mlruns",
    "mlartifacts",
    "*.db",
    "*.db-*",
    "__pycache__",
    ".*",
)
_MOST_BYTES = 100 * 2**20


@contextmanager
def copy_job_files(folder: Path) -> Iterator[Path]:
    """A temporary copy of what a job gets of a folder: in a git repository what git does not ignore, elsewhere all; but
    never results, hidden files, and what is in the folder for temporary files. Raises `IbmlError` where it is much."""
    files = _select_files(folder)
    sizes = {file: (folder / file).stat().st_size for file in files}
    if sum(sizes.values()) > _MOST_BYTES:
        raise IbmlError(
            f"{folder} has {sum(sizes.values()) / 2**20:,.0f} MiB that would be sent with the job, more than"
            f" {_MOST_BYTES / 2**20:.0f} ({_describe_largest(sizes)}): data belongs on the nodes; what git ignores is not sent"
        )
    with tempfile.TemporaryDirectory(prefix="ibml-job-") as place:
        for file in files:
            target = Path(place, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / file, target)
        yield Path(place)


def _select_files(folder: Path) -> list[Path]:
    temporary = Path(tempfile.gettempdir()).resolve()
    known = _list_git_files(folder)
    files = _walk_files(folder) if known is None else known
    return [
        file
        for file in files
        if (folder / file).is_file()
        and not any(map(_is_excluded, file.parts))
        and not (
            temporary != folder
            and temporary.is_relative_to(folder)
            and (folder / file).is_relative_to(temporary)
        )
    ]


def _list_git_files(folder: Path) -> list[Path] | None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        found = subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return [
        Path(name)
        for name in sorted(set(found.stdout.decode(errors="surrogateescape").split("\0")))
        if name
    ]


def _walk_files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_excluded(name)]
        yield from (Path(place, name).relative_to(folder) for name in files)


def _is_excluded(name: str) -> bool:
    """Whether a file or folder of this name is never sent."""
    return any(fnmatchcase(name, left) for left in _LEFT)


def _describe_largest(sizes: dict[Path, int]) -> str:
    """The entries of the folder that have most of it."""
    totals: dict[str, int] = {}
    for file, size in sizes.items():
        totals[file.parts[0]] = totals.get(file.parts[0], 0) + size
    first = sorted(totals, key=lambda name: totals[name], reverse=True)[:3]
    return ", ".join(f"{name} {totals[name] / 2**20:,.0f} MiB" for name in first)
