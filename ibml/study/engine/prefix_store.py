"""Checkpoints of shared training prefixes: a size-limited cache that all drivers of a store use."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ibml.common.atomic_files import remove_unfinished
from ibml.common.storage import StoragePath, scan_files

_NAME = re.compile(r"\d{6,}-([0-9a-f]{32})\.ckpt")
_SCAN_SECONDS = 2.0
"""Minimum time between two scans for files of other drivers."""
_COST_SHARE = 20
"""Scans take at most 1 / `_COST_SHARE` of the time."""


def is_prefix_file(name: str) -> bool:
    """Return True if a file of this name is the checkpoint of a shared prefix."""
    return _NAME.fullmatch(name) is not None


@dataclass
class _File:
    """A checkpoint: its path, size in bytes, and time of last use (seconds since 1970)."""

    path: StoragePath
    size: int
    used: float


class PrefixStore:
    """Folder of checkpoints `000010-<key>.ckpt`, here the state after ten epochs.

    The total size is kept below the limit, except for files that are being written.

    Args:
        folder: Folder or bucket path.
        limit: Size limit in bytes.
    """

    def __init__(self, folder: StoragePath, limit: float):
        self.folder, self.limit = folder, limit
        with suppress(OSError):
            remove_unfinished(folder)
        self._scan()

    def get_path(self, epochs: int, key: bytes) -> StoragePath:
        """Return the path of the checkpoint with a prefix key, after a number of epochs."""
        return self.folder / f"{epochs:06}-{key.hex()}.ckpt"

    def has(self, key: bytes) -> bool:
        """Return True if a checkpoint exists; files of other drivers appear after some seconds."""
        if time.monotonic() - self._scanned_at > max(_SCAN_SECONDS, _COST_SHARE * self._scan_cost):
            self._scan()
        return key in self._files

    def add(self, epochs: int, key: bytes, size: int) -> None:
        """Record a checkpoint that a worker has written.

        Args:
            epochs: Number of epochs after which it was saved.
            key: Its prefix key.
            size: Size in bytes.
        """
        self._files[key] = _File(self.get_path(epochs, key), size, time.time())

    def mark_used(self, path: StoragePath) -> None:
        """Update the time of last use. In a bucket, the time of writing counts instead."""
        if isinstance(path, Path):
            with suppress(OSError):
                os.utime(path)

    def trim(self, needed: Mapping[bytes, int]) -> None:
        """Remove files until the total size is below the limit.

        Files that no pending trial needs are removed first, the least recently used before others.
        Then follow the files that are cheapest to train again, those after the fewest epochs.

        Args:
            needed: Prefix key -> number of pending trials that can start from it.
        """
        if self._compute_size() <= self.limit:
            return
        self._scan()
        unneeded = [key for key in self._files if not needed.get(key)]
        unneeded.sort(key=lambda key: self._files[key].used)
        shortest_first = [key for key in self._files if needed.get(key)]
        shortest_first.sort(key=lambda key: self._files[key].path.name)
        for key in [*unneeded, *shortest_first]:
            if self._compute_size() <= self.limit:
                return
            with suppress(OSError):
                self._files.pop(key).path.unlink(missing_ok=True)

    def _compute_size(self) -> int:
        return sum(file.size for file in self._files.values())

    def _scan(self) -> None:
        started_at = time.monotonic()
        self._files: dict[bytes, _File] = dict(self._list_files())
        self._scanned_at = time.monotonic()
        self._scan_cost = self._scanned_at - started_at

    def _list_files(self) -> Iterator[tuple[bytes, _File]]:
        with suppress(OSError):
            for path, status in scan_files(self.folder):
                if match := _NAME.fullmatch(path.name):
                    yield bytes.fromhex(match[1]), _File(path, status.st_size, status.st_mtime)
