"""Facts about a machine, collected by a Ray task on every node.

Ray sends this module by value, since a node may lack ibml or have another version of it. At module
level it imports the standard library only.
"""

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
"""Packages whose versions must be equal on all machines."""


def collect_facts(request: Mapping[str, Any]) -> dict[str, Any]:
    """Collect facts about this machine.

    Args:
        request: `folder`: folder of the checkpoints, to test if it is writable. `mark`: file in it,
            to test if it is visible. `data`: data sets, each as a configuration and the plug-in
            packages that it needs.

    Returns:
        `host`; `clock` (seconds since 1970, read first); `python`; `versions` of `PACKAGES`;
        `revision` of the code; `cuda`: version that torch was built for; `gpus` as (name, total
        MiB, free MiB); `written`: empty or an error; `seen`: True if the mark is visible; `data`:
        fingerprints; `took`: seconds after reading the clock. An error is a text that starts with
        "!".
    """
    clock, started_at = time.time(), time.monotonic()
    found = {
        "host": socket.gethostname(),
        "clock": clock,
        "python": platform.python_version(),
        "versions": {name: _get_version(name) for name in PACKAGES},
        "revision": _get_revision(),
        "cuda": _find_cuda_version(),
        "gpus": _list_gpus(),
        "written": _test_write(request["folder"]),
        "seen": _is_seen(request["mark"]),
        "data": [_compute_fingerprint(config, packages) for config, packages in request["data"]],
    }
    return {**found, "took": time.monotonic() - started_at}


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
    """Return the CUDA version of torch from its version file, since importing it takes seconds."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return ""
    file = Path(found.origin).parent / "version.py"
    if not file.is_file():
        return ""
    text = file.read_text(encoding="utf-8")
    match = re.search(r"^cuda\b.*= '([^']+)'", text, re.MULTILINE)
    return match[1] if match else ""


def _list_gpus() -> list[tuple[str, int, int]]:
    command = [
        "nvidia-smi",
        "--query-gpu=name,memory.total,memory.free",
        "--format=csv,noheader,nounits",
    ]
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=20, check=True
        )
        gpus = []
        for line in filter(str.strip, answer.stdout.splitlines()):
            name, total, free = line.rsplit(",", 2)
            gpus.append((name.strip(), int(total), int(free)))
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    return gpus


def _test_write(address: str) -> str:
    """Write to a bucket, or to the nearest existing parent folder; return an error or ""."""
    if "://" in address:
        return _test_bucket_write(address)
    folder = Path(address)
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return ""
    except OSError as error:
        return f"!{existing}: {error.strerror}"


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
    except Exception as error:  # noqa: BLE001 any problem of another machine
        return f"!{type(error).__name__}: {error}"
