"""Options of a run, and the objects that its functions share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ibml.config.resources import Backend, ResourcesConfig
    from ibml.search.database import Database
    from ibml.study.engine.prefix_cache import PrefixCache
    from ibml.tracking.session import Session

STAGE_GB = 10.0
"""Default size limit of the prefix cache, in gigabytes."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a study or a search that do not change its results.

    An option that is not set falls back to environment variables and defaults, see `ibml --help`.

    Attributes:
        tracking_uri: URI of the MLflow store.
        storage: URL of Optuna's database.
        address: Address of a running Ray cluster.
        checkpoints: Folder or bucket for checkpoints.
        stage_gb: Size limit of the prefix cache, in gigabytes; 0 disables prefix sharing.
        backend: Backend that trains the trials; None for the backend in the file's `resources`.
        workers: Processes of the local backend; None for the number in the file's `resources`.
        debug: True to open the debugger at an exception of a trial (local backend, one worker).
        new_version: True to start a new version if the name exists with another design.
        allow_mixed: True to combine results of different code revisions or machines in a table.
        rerun: True to delete existing results and train their trials again.
    """

    tracking_uri: str | None = None
    storage: str | None = None
    address: str | None = None
    checkpoints: str | Path | None = None
    stage_gb: float = STAGE_GB
    backend: Backend | None = None
    workers: int | None = None
    debug: bool = False
    new_version: bool = False
    allow_mixed: bool = False
    rerun: bool = False

    def get_environment(self) -> dict[str, str]:
        """Return the storage options that are set, as environment variables."""
        given = {
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "OPTUNA_STORAGE": self.storage,
            "IBML_CHECKPOINTS": self.checkpoints,
        }
        return {name: str(value) for name, value in given.items() if value}


@dataclass(frozen=True)
class RunContext:
    """Objects that the functions of a run share.

    Attributes:
        session: The driver's session on the MLflow store.
        database: Optuna's database.
        console: Console for progress and messages.
        prefixes: Cache of the training prefixes that trials share.
        options: Options of the run.
        resources: Backend, and resources of each trial.
    """

    session: Session
    database: Database
    console: Console
    prefixes: PrefixCache
    options: RunOptions
    resources: ResourcesConfig
