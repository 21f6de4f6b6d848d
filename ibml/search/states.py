"""States of trainings between the parts in which they are trained, as files in the working folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ibml.config.base import IbmlError
from ibml.config.places import below

FOLDER = "populations"


class StateError(IbmlError):
    """A state cannot be kept, or is not where it was left."""


class States:
    """The states of a search by member and epoch. What is written is whole or not there at all, also after a crash.

    `identity` tells searches apart that have the same name in different databases.
    """

    def __init__(self, name: str, identity: str):
        self.folder, self.identity = below(Path(FOLDER), name), identity[:12]

    def _path(self, member: int, epoch: int) -> Path:
        return self.folder / f"{self.identity}.{member}.{epoch}"

    def has(self, member: int, epoch: int) -> bool:
        return self._path(member, epoch).is_file()

    def put(self, member: int, epoch: int, content: bytes) -> None:
        path = self._path(member, epoch)
        unfinished = path.with_name(f"{path.name}.unfinished")
        with self._as_state_error():
            self.folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            _sync_folder(self.folder)

    def get(self, member: int, epoch: int) -> bytes:
        with self._as_state_error():
            return self._path(member, epoch).read_bytes()

    def forget(self, before: float = float("inf")) -> None:
        """Remove the states of earlier epochs; without any left, the folder too."""
        with self._as_state_error():
            for path in self.folder.glob(f"{self.identity}.*"):
                if int(path.name.split(".")[2]) < before:
                    path.unlink()
            for folder in (self.folder, self.folder.parent):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    @contextmanager
    def _as_state_error(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            message = (
                f"the states that the search goes on from are not in {self.folder.absolute()}: run it where it was"
            )
            raise StateError(f"{message} begun, or begin another beside it with --new-version") from None
        except OSError as error:
            message = f"states of the search in {self.folder.absolute()}: {error.strerror}"
            raise StateError(f"{message}; the same command goes on from those that are there") from None


def _sync_folder(folder: Path) -> None:
    """Only then a renamed file survives a power failure under its new name."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
