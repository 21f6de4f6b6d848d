"""States of trainings between the parts in which they are trained, as files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ibml.common.atomic_files import open_atomic
from ibml.common.errors import IbmlError
from ibml.common.storage import StoragePath

CHECKPOINT_NAME = re.compile(r"[^.]{1,12}\.\d+\.(\d+)")
"""The name of a state: search, member and epoch."""


class PbtCheckpointError(IbmlError):
    """A state cannot be kept, or is not where it was left."""


class PbtCheckpoints:
    """The states of a search by member and epoch. What is written is whole or not there at all, also after a crash.

    `identity` tells searches apart that have the same name in different databases.
    """

    def __init__(self, folder: StoragePath, identity: str):
        self.folder, self.identity = folder, identity[:12]

    def _get_path(self, member: int, epoch: int) -> StoragePath:
        return self.folder / f"{self.identity}.{member}.{epoch}"

    def has(self, member: int, epoch: int) -> bool:
        with self._translate_errors():
            return self._get_path(member, epoch).is_file()

    def put(self, member: int, epoch: int, content: bytes) -> None:
        with self._translate_errors(), open_atomic(self._get_path(member, epoch)) as file:
            file.write(content)

    def get(self, member: int, epoch: int) -> bytes:
        with self._translate_errors():
            return self._get_path(member, epoch).read_bytes()

    def remove(self, before: float = float("inf")) -> None:
        """Remove the states of earlier epochs; without any left, the folder too."""
        with self._translate_errors():
            for path in self.folder.glob(f"{self.identity}.*"):
                named = CHECKPOINT_NAME.fullmatch(path.name)
                if named and int(named[1]) < before:
                    path.unlink(missing_ok=True)
            for folder in (self.folder, self.folder.parent):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            message = f"the states that the search goes on from are not in {self.folder.absolute()}: run it where it was"
            raise PbtCheckpointError(
                f"{message} begun, or begin another beside it with --new-version"
            ) from None
        except OSError as error:
            message = f"states of the search in {self.folder.absolute()}: {error.strerror}"
            raise PbtCheckpointError(
                f"{message}; the same command goes on from those that are there"
            ) from None
