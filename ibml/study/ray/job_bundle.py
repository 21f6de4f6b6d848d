"""Files of a folder that are sent with a job: code and configurations, not data or results."""

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
"""Maximum size of the files."""


@contextmanager
def copy_job_files(folder: Path) -> Iterator[Path]:
    """Copy the files of a job to a temporary folder.

    In a git repository these are the files that git does not ignore, elsewhere all files. Results,
    hidden files and the folder for temporary files are always excluded.

    Args:
        folder: Folder of the files.

    Yields:
        The temporary folder, which is removed afterwards.

    Raises:
        IbmlError: If the files are larger than 100 MiB.
    """
    files = _select_files(folder)
    sizes = {file: (folder / file).stat().st_size for file in files}
    total = sum(sizes.values())
    if total > _MOST_BYTES:
        raise IbmlError(
            f"{folder} has {total / 2**20:,.0f} MiB that would be sent with the job, more than"
            f" {_MOST_BYTES / 2**20:.0f} ({_describe_largest(sizes)});"
            " copy data to the nodes, and let git ignore files that the job does not need"
        )
    with tempfile.TemporaryDirectory(prefix="ibml-job-") as name:
        copy = Path(name)
        for file in files:
            target = copy / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / file, target)
        yield copy


def _select_files(folder: Path) -> list[Path]:
    """Return the files of a job, relative to the folder."""
    temporary = Path(tempfile.gettempdir()).resolve()
    is_inside = temporary != folder and temporary.is_relative_to(folder)
    known = _list_git_files(folder)
    selected = []
    for file in _walk_files(folder) if known is None else known:
        path = folder / file
        is_temporary = is_inside and path.is_relative_to(temporary)
        if path.is_file() and not is_temporary and not any(map(_is_excluded, file.parts)):
            selected.append(file)
    return selected


def _list_git_files(folder: Path) -> list[Path] | None:
    """Return the files that git does not ignore; None outside of a repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        found = subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    names = set(found.stdout.decode(errors="surrogateescape").split("\0"))
    return [Path(name) for name in sorted(names) if name]


def _walk_files(folder: Path) -> Iterator[Path]:
    """Yield all files below the folder, except in excluded folders."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_excluded(name)]
        yield from (Path(place, name).relative_to(folder) for name in files)


def _is_excluded(name: str) -> bool:
    """Return True if files or folders of this name are never sent."""
    return any(fnmatchcase(name, left) for left in _LEFT)


def _describe_largest(sizes: dict[Path, int]) -> str:
    """Return the three largest entries of the folder with their sizes."""
    totals: dict[str, int] = {}
    for file, size in sizes.items():
        totals[file.parts[0]] = totals.get(file.parts[0], 0) + size
    first = sorted(totals, key=lambda name: totals[name], reverse=True)[:3]
    return ", ".join(f"{name} {totals[name] / 2**20:,.0f} MiB" for name in first)
