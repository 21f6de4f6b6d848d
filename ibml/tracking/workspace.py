"""What belongs to a store on disk: checkpoints, states of populations and those that trials share, and what is not in
the store yet."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ibml.common.errors import IbmlError
from ibml.common.paths import get_state_folder
from ibml.common.storage import ObjectPath, StoragePath, parse_storage_path
from ibml.tracking.store.experiment import Experiment
from ibml.tracking.store.uri import get_database_file

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Workspace:
    """The folder of one experiment, and that of the journals of what the store has not taken yet. On several hosts the
    first has to be one that all of them see, or trials that lose their host begin again."""

    root: StoragePath
    spool: Path

    @property
    def trials(self) -> StoragePath:
        """A folder for each trial that is trained, or that something was kept of, by its key."""
        return self.root / "trials"

    def trial(self, key: str) -> StoragePath:
        return self.trials / key

    @property
    def populations(self) -> StoragePath:
        return self.root / "populations"

    @property
    def prefix_folder(self) -> StoragePath:
        """States that trials share."""
        return self.root / "stages"


def workspace(experiment: Experiment, given: str | Path | None = None) -> Workspace:
    """The experiment's folder below `given`, else below `IBML_CHECKPOINTS`, else in `checkpoints` beside a database
    file or in the working folder. Its name tells experiments of different stores apart, however they are reached.
    Journals, which grow line by line, lie on this host where the folder is a bucket's. Raises `IbmlError`."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", experiment.experiment)[:40]
    identity = hashlib.sha256(
        f"{experiment.experiment_id}\n{experiment.created_at}".encode()
    ).hexdigest()
    name = f"{plain}-{identity[:8]}"
    root = resolve_checkpoint_root(experiment.uri, given) / name
    if isinstance(root, ObjectPath):
        try:
            root.exists()
        except OSError as error:
            raise IbmlError(f"checkpoints: {root.parent} does not answer: {error}") from None
        return Workspace(root, get_state_folder() / name / "spool")
    return Workspace(root, root / "spool")


def resolve_checkpoint_root(uri: str, given: str | Path | None = None) -> StoragePath:
    """Where the workspaces of a store lie. Raises `IbmlError`."""
    database = get_database_file(uri)
    usual = (database.parent if database else Path()) / FOLDER
    try:
        return parse_storage_path(given or os.environ.get("IBML_CHECKPOINTS") or usual)
    except ValueError as error:
        raise IbmlError(f"checkpoints: {error}") from None
