"""What a machine says of itself. Ray sends this as code and not by its name, since a node may lack ibml or have another
one: nothing but the standard library is imported before it is tried."""

from __future__ import annotations

import platform
import re
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("ibml", "torch", "ray", "numpy")
"""Whose versions have to be the same everywhere."""


def facts(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Host, clock (seconds since 1970), Python and the versions of `PACKAGES`; the code's revision; for which CUDA
    torch was built, and the GPUs that there are, with MiB in all and free; whether the folder `asked["folder"]` can be
    written to, and whether the file `asked["mark"]` is seen; of each data set in `asked["data"]`, a trial's part `data`
    and the packages that it needs, the fingerprint. What cannot be had is said in words that begin with `!`. The clock
    is read first; `took` says how long the rest took."""
    clock, began = time.time(), time.monotonic()
    found = {
        "host": socket.gethostname(),
        "clock": clock,
        "python": platform.python_version(),
        "versions": {name: _get_version(name) for name in PACKAGES},
        "revision": _get_revision(),
        "cuda": _find_cuda_version(),
        "gpus": _list_gpus(),
        "written": _test_write(asked["folder"]),
        "seen": _is_seen(asked["mark"]),
        "data": [_compute_fingerprint(config, packages) for config, packages in asked["data"]],
    }
    return {**found, "took": time.monotonic() - began}


def _get_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "!not installed"


def _get_revision() -> str:
    try:
        from ibml.common.version import get_code_revision

        return get_code_revision()
    except ImportError as error:
        return f"!{error}"


def _find_cuda_version() -> str:
    """Read from torch's file of its version, since importing it takes seconds."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return ""
    file = Path(found.origin).parent / "version.py"
    said = re.search(
        r"^cuda\b.*= '([^']+)'",
        file.read_text(encoding="utf-8") if file.is_file() else "",
        re.MULTILINE,
    )
    return said[1] if said else ""


def _list_gpus() -> list[tuple[str, int, int]]:
    command = [
        "nvidia-smi",
        "--query-gpu=name,memory.total,memory.free",
        "--format=csv,noheader,nounits",
    ]
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=20, check=True
        ).stdout
        rows = [
            [part.strip() for part in line.rsplit(",", 2)]
            for line in answer.splitlines()
            if line.strip()
        ]
        return [(name, int(total), int(free)) for name, total, free in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def _test_write(address: str) -> str:
    """Empty, or why nothing can be written to a bucket, or below the nearest folder that there is."""
    if "://" in address:
        return _test_bucket_write(address)
    folder = Path(address)
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return ""
    except OSError as error:
        return f"!{there}: {error.strerror}"


def _test_bucket_write(address: str) -> str:
    try:
        from ibml.common.storage import parse_storage_path

        tried = parse_storage_path(address) / f"tried-{secrets.token_hex(8)}"
        tried.write_bytes(b"")
        tried.unlink()
    except (ImportError, OSError, ValueError) as error:
        return f"!{error}"
    return ""


def _is_seen(address: str) -> bool:
    try:
        if "://" not in address:
            return Path(address).exists()
        from ibml.common.storage import parse_storage_path

        return parse_storage_path(address).exists()
    except (ImportError, OSError, ValueError):
        return False


def _compute_fingerprint(config: Mapping[str, Any], packages: Mapping[str, tuple[str, str]]) -> str:
    try:
        from pydantic import TypeAdapter

        from ibml import data
        from ibml.config.data import DataConfig
        from ibml.config.plugins.plugin_config import allow_received_plugins

        allow_received_plugins(packages)
        parsed: Any = TypeAdapter(DataConfig).validate_python(config)
        return data.fingerprint(parsed)
    except Exception as error:  # noqa: BLE001 whatever is wrong with another machine's data or installation
        return f"!{type(error).__name__}: {error}"
