"""Checkpoints between the intervals of population-based training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ibml.common.atomic_files import open_atomic
from ibml.common.errors import IbmlError
from ibml.common.storage import StoragePath

CHECKPOINT_NAME = re.compile(r"[^.]{1,12}\.\d+\.(\d+)")
"""File name of a checkpoint: identity of the search, member and epoch."""


class PbtCheckpointError(IbmlError):
    """A checkpoint of a population cannot be written, read or found."""


class PbtCheckpoints:
    """Checkpoints of a population, by member and epoch.

    Files are written atomically: after a crash, a checkpoint is complete or missing. All methods
    raise `PbtCheckpointError` if the storage fails.

    Args:
        folder: Directory of the checkpoints.
        identity: Hash that distinguishes searches of the same name in different databases.
    """

    def __init__(self, folder: StoragePath, identity: str):
        self.folder = folder
        self.identity = identity[:12]

    def _get_path(self, member: int, epoch: int) -> StoragePath:
        return self.folder / f"{self.identity}.{member}.{epoch}"

    def has(self, member: int, epoch: int) -> bool:
        """Return True if the checkpoint of a member after `epoch` epochs exists."""
        with self._translate_errors():
            return self._get_path(member, epoch).is_file()

    def put(self, member: int, epoch: int, content: bytes) -> None:
        """Write a checkpoint.

        Args:
            member: Number of the member.
            epoch: Number of epochs that it was trained for.
            content: Serialized checkpoint.
        """
        with self._translate_errors(), open_atomic(self._get_path(member, epoch)) as file:
            file.write(content)

    def get(self, member: int, epoch: int) -> bytes:
        """Read the checkpoint of a member after `epoch` epochs."""
        with self._translate_errors():
            return self._get_path(member, epoch).read_bytes()

    def remove(self, before: float = float("inf")) -> None:
        """Remove the checkpoints of epochs below `before`, and directories that are then empty."""
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
        place = self.folder.absolute()
        try:
            yield
        except FileNotFoundError:
            raise PbtCheckpointError(
                f"the checkpoints of the search are not in {place}: run the command where the"
                " search was started, or start a new version with --new-version"
            ) from None
        except OSError as error:
            raise PbtCheckpointError(
                f"checkpoints of the search in {place}: {error.strerror}; repeat the command to"
                " resume from the available checkpoints"
            ) from None
