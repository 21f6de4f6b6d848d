"""Options of a run, and what a run works with."""

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
"""Default room for checkpoints that trials share, in gigabytes."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a study or a search that do not change its results. What is None is found as the help says.

    Attributes:
        tracking_uri: URI of the MLflow store.
        storage: URL of Optuna's database.
        address: Address of a running Ray cluster.
        checkpoints: Folder or bucket for checkpoints.
        stage_gb: Room for checkpoints that trials share, in gigabytes; 0 disables prefix sharing.
        backend: Where trials are trained; None for the backend in the file's `resources`.
        workers: Number of processes of the local backend; None for the number in the file's `resources`.
        debug: Whether an exception of a trial opens the debugger (local backend with one worker).
        new_version: Whether to start a new version if the name exists with another design.
        allow_mixed: Whether results of different code revisions or machines make a table together.
        rerun: Whether to delete and repeat the results that there are.
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
        """Return the places that are given, as environment variables."""
        given = {
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "OPTUNA_STORAGE": self.storage,
            "IBML_CHECKPOINTS": self.checkpoints,
        }
        return {name: str(value) for name, value in given.items() if value}


@dataclass(frozen=True)
class RunContext:
    """What a run works with.

    Attributes:
        session: The driver's session on the MLflow store.
        database: Optuna's database.
        console: Where progress goes.
        prefixes: Training prefixes that trials share.
        options: The options of the run.
        resources: Where trials are trained, and what each of them takes.
    """

    session: Session
    database: Database
    console: Console
    prefixes: PrefixCache
    options: RunOptions
    resources: ResourcesConfig
