"""The files of states that trials share, and how much room they take: a cache that all drivers of a store use."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ibml.files import remove_unfinished

_NAME = re.compile(r"\d{6,}-([0-9a-f]{32})\.ckpt")
_LOOK_SECONDS = 2.0
"""How often it is looked for files of other drivers."""


@dataclass
class _File:
    path: Path
    size: int
    used: float


class StageFiles:
    """A folder of files `000010-<name>.ckpt`, the state after ten epochs. All together are kept below `limit` bytes, up
    to those that are being written."""

    def __init__(self, folder: Path, limit: float):
        self.folder, self.limit = folder, limit
        with suppress(OSError):
            remove_unfinished(folder)
        self._look()

    def path(self, epochs: int, name: bytes) -> Path:
        return self.folder / f"{epochs:06}-{name.hex()}.ckpt"

    def has(self, name: bytes) -> bool:
        """Whether a state is there, as of a few seconds ago."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()
        return name in self._files

    def add(self, epochs: int, name: bytes, size: int) -> None:
        """A state has been written."""
        self._files[name] = _File(self.path(epochs, name), size, time.time())

    def used(self, path: Path) -> None:
        """A state is gone on from: those that were not for longest go first."""
        with suppress(OSError):
            os.utime(path)

    def trim(self, needed: Mapping[bytes, int]) -> None:
        """Remove what is over the limit: what nobody needs, the longest unused first, then what is soonest trained
        again."""
        if self._total() <= self.limit:
            return
        self._look()
        used = sorted((name for name in self._files if not needed.get(name)), key=lambda name: self._files[name].used)
        short = sorted((name for name in self._files if needed.get(name)), key=lambda name: self._files[name].path.name)
        for name in [*used, *short]:
            if self._total() <= self.limit:
                return
            with suppress(OSError):
                self._files.pop(name).path.unlink(missing_ok=True)

    def _total(self) -> int:
        return sum(file.size for file in self._files.values())

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._files: dict[bytes, _File] = dict(self._there())

    def _there(self) -> Iterator[tuple[bytes, _File]]:
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if not (named := _NAME.fullmatch(entry.name)):
                    continue
                with suppress(OSError):  # removed meanwhile
                    status = entry.stat()
                    yield bytes.fromhex(named[1]), _File(Path(entry.path), status.st_size, status.st_mtime)
