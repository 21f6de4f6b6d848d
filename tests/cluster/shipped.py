"""Helpers for the tests of `cluster/`: its path, its files as data, and fake commands."""

from __future__ import annotations

import copy
import stat
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

CLUSTER = ROOT / "cluster"
LAUNCHERS = ("aws", "gcp", "onprem")
CLOUDS = ("aws", "gcp")


def launcher(name: str) -> dict[str, Any]:
    """The file as it is read by `ray up`, a new copy."""
    return copy.deepcopy(yaml.safe_load((CLUSTER / f"{name}.yaml").read_text()))


def command(folder: Path, name: str, script: str, shell: str = "/bin/bash") -> Path:
    """A program `name` in a folder that a test puts on the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!{shell}\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
