"""Folders of an experiment: checkpoints, shared training prefixes, populations and journals."""

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
    """Folders of one experiment.

    Attributes:
        root: Folder of checkpoints. On several hosts it must be one that all hosts share; otherwise
            the trials of a lost host start again from the first epoch.
        spool: Folder of the journals, always on this host.
    """

    root: StoragePath
    spool: Path

    @property
    def trials(self) -> StoragePath:
        """Folder with one subfolder per trial, named by its key."""
        return self.root / "trials"

    def trial(self, key: str) -> StoragePath:
        """Return the checkpoint folder of a trial."""
        return self.trials / key

    @property
    def populations(self) -> StoragePath:
        """Folder of the checkpoints of population-based training."""
        return self.root / "populations"

    @property
    def prefix_folder(self) -> StoragePath:
        """Folder of shared training prefixes."""
        return self.root / "stages"


def resolve_workspace(experiment: Experiment, given: str | Path | None = None) -> Workspace:
    """Return the folders of an experiment.

    The name of its subfolder contains a hash of the experiment's id and creation time. Experiments
    of different stores therefore never share a folder, and the address of a store does not matter.

    Args:
        experiment: The experiment.
        given: Folder or bucket of checkpoints; see `resolve_checkpoint_root`.

    Returns:
        The folders. If checkpoints are in a bucket, journals are in the user's state folder.

    Raises:
        IbmlError: The bucket does not respond, or the address is invalid.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", experiment.experiment)[:40]
    identity = f"{experiment.experiment_id}\n{experiment.created_at}"
    name = f"{plain}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    root = resolve_checkpoint_root(experiment.uri, given) / name
    if isinstance(root, ObjectPath):
        try:
            root.exists()
        except OSError as error:
            message = f"checkpoints: {root.parent} does not respond: {error}"
            raise IbmlError(message) from None
        return Workspace(root, get_state_folder() / name / "spool")
    return Workspace(root, root / "spool")


def resolve_checkpoint_root(uri: str, given: str | Path | None = None) -> StoragePath:
    """Return the folder or bucket that contains the workspaces of a store.

    Args:
        uri: URI of the store.
        given: The user's choice. The default is `IBML_CHECKPOINTS`, then `checkpoints` next to a
            SQLite store, then `checkpoints` in the working folder.

    Returns:
        The local path or object-store path.

    Raises:
        IbmlError: The address is invalid.
    """
    database = get_database_file(uri)
    default = (database.parent if database else Path()) / FOLDER
    try:
        return parse_storage_path(given or os.environ.get("IBML_CHECKPOINTS") or default)
    except ValueError as error:
        raise IbmlError(f"checkpoints: {error}") from None
