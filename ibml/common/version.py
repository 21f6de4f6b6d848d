"""Version and code revision of ibml."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    __version__ = version("ibml")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0"


@cache
def get_code_revision() -> str:
    """Return the version; in a git repository, with the commit and `+` for uncommitted changes."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return __version__
    command = [
        "git",
        "-C",
        str(root),
        "describe",
        "--always",
        "--dirty=+",
        "--abbrev=10",
        "--exclude=*",
    ]
    try:
        found = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}-g{found.stdout.strip()}"
