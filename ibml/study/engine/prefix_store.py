"""The files of states that trials share, and how much room they take: a cache that all drivers of a store use."""

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
_LOOK_SECONDS = 2.0
"""How often it is looked for files of other drivers."""
_COST_SHARE = 20
"""Looking takes at most one part in so many of the time."""


def is_prefix_file(name: str) -> bool:
    """Return whether a file of this name is a state that trials share."""
    return _NAME.fullmatch(name) is not None


@dataclass
class _File:
    path: StoragePath
    size: int
    used: float


class PrefixStore:
    """A folder of files `000010-<name>.ckpt`, the state after ten epochs. All together are kept below `limit` bytes, up
    to those that are being written."""

    def __init__(self, folder: StoragePath, limit: float):
        self.folder, self.limit = folder, limit
        with suppress(OSError):
            remove_unfinished(folder)
        self._look()

    def path(self, epochs: int, name: bytes) -> StoragePath:
        return self.folder / f"{epochs:06}-{name.hex()}.ckpt"

    def has(self, name: bytes) -> bool:
        """Whether a state is there, as of a few seconds ago."""
        if time.monotonic() - self._looked > max(_LOOK_SECONDS, _COST_SHARE * self._cost):
            self._look()
        return name in self._files

    def add(self, epochs: int, name: bytes, size: int) -> None:
        """A state has been written."""
        self._files[name] = _File(self.path(epochs, name), size, time.time())

    def used(self, path: StoragePath) -> None:
        """A state is gone on from: those that were not for longest go first, in a bucket the oldest."""
        if isinstance(path, Path):
            with suppress(OSError):
                os.utime(path)

    def trim(self, needed: Mapping[bytes, int]) -> None:
        """Remove what is over the limit: what nobody needs, the longest unused first, then what is soonest trained
        again."""
        if self._total() <= self.limit:
            return
        self._look()
        used = sorted(
            (name for name in self._files if not needed.get(name)),
            key=lambda name: self._files[name].used,
        )
        short = sorted(
            (name for name in self._files if needed.get(name)),
            key=lambda name: self._files[name].path.name,
        )
        for name in [*used, *short]:
            if self._total() <= self.limit:
                return
            with suppress(OSError):
                self._files.pop(name).path.unlink(missing_ok=True)

    def _total(self) -> int:
        return sum(file.size for file in self._files.values())

    def _look(self) -> None:
        began = time.monotonic()
        self._files: dict[bytes, _File] = dict(self._there())
        self._looked = time.monotonic()
        self._cost = self._looked - began

    def _there(self) -> Iterator[tuple[bytes, _File]]:
        with suppress(OSError):
            for path, status in scan_files(self.folder):
                if named := _NAME.fullmatch(path.name):
                    yield bytes.fromhex(named[1]), _File(path, status.st_size, status.st_mtime)
