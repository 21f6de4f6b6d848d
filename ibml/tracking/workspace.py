"""What belongs to a store on disk: checkpoints, states of populations and those that trials share, and what is not in
the store yet."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ibml.tracking.experiment import Experiment
from ibml.tracking.uri import database_file

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Workspace:
    """The folder of one experiment. On several hosts it has to be one that all of them see, or trials that lose their
    host begin again."""

    root: Path

    @property
    def trials(self) -> Path:
        """A folder for each trial that is trained, or that something was kept of, by its key."""
        return self.root / "trials"

    def trial(self, key: str) -> Path:
        return self.trials / key

    @property
    def populations(self) -> Path:
        return self.root / "populations"

    @property
    def stages(self) -> Path:
        """States that trials share."""
        return self.root / "stages"

    @property
    def spool(self) -> Path:
        return self.root / "spool"


def workspace(experiment: Experiment, given: str | Path | None = None) -> Workspace:
    """The experiment's folder below `given`, else below `IBML_CHECKPOINTS`, else in `checkpoints` beside a database
    file or in the working folder. Its name tells experiments of different stores apart, however they are reached."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", experiment.experiment)[:40]
    identity = hashlib.sha256(f"{experiment.experiment_id}\n{experiment.created_at}".encode()).hexdigest()
    return Workspace(place(experiment.uri, given) / f"{plain}-{identity[:8]}")


def place(uri: str, given: str | Path | None = None) -> Path:
    """Where the workspaces of a store lie."""
    database = database_file(uri)
    usual = (database.parent if database else Path()) / FOLDER
    return Path(given or os.environ.get("IBML_CHECKPOINTS") or usual).expanduser().absolute()
