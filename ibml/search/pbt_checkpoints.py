"""States of trainings between the parts in which they are trained, as files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ibml.common.atomic_files import replacing
from ibml.common.errors import IbmlError
from ibml.common.storage import Place

STATE = re.compile(r"[^.]{1,12}\.\d+\.(\d+)")
"""The name of a state: search, member and epoch."""


class StateError(IbmlError):
    """A state cannot be kept, or is not where it was left."""


class States:
    """The states of a search by member and epoch. What is written is whole or not there at all, also after a crash.

    `identity` tells searches apart that have the same name in different databases.
    """

    def __init__(self, folder: Place, identity: str):
        self.folder, self.identity = folder, identity[:12]

    def _path(self, member: int, epoch: int) -> Place:
        return self.folder / f"{self.identity}.{member}.{epoch}"

    def has(self, member: int, epoch: int) -> bool:
        with self._as_state_error():
            return self._path(member, epoch).is_file()

    def put(self, member: int, epoch: int, content: bytes) -> None:
        with self._as_state_error(), replacing(self._path(member, epoch)) as file:
            file.write(content)

    def get(self, member: int, epoch: int) -> bytes:
        with self._as_state_error():
            return self._path(member, epoch).read_bytes()

    def forget(self, before: float = float("inf")) -> None:
        """Remove the states of earlier epochs; without any left, the folder too."""
        with self._as_state_error():
            for path in self.folder.glob(f"{self.identity}.*"):
                named = STATE.fullmatch(path.name)
                if named and int(named[1]) < before:
                    path.unlink(missing_ok=True)
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
