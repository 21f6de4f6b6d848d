"""One MLflow experiment: its client, its runs, its artifacts."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ibml.config.places import below
from ibml.files import UNFINISHED
from ibml.tracking.uri import (
    TrackingError,
    as_tracking_error,
    check_reachable,
    database_file,
    database_uri,
    resolved_uri,
    server_address,
)

EXPERIMENT = "ibml"
UI_ADDRESS = "http://127.0.0.1:5000"
_IDS_OF_A_CALL = 200


def chosen_experiment() -> str:
    """The experiment that the environment names, else `ibml`."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


@contextmanager
def _one_at_a_time(database: Path | None) -> Iterator[None]:
    """Two processes that make a database file's tables at once would leave it half made. Locked is the folder, so that
    no file is left."""
    if database is None:
        yield
        return
    folder = os.open(database.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _make_tables(database: Path) -> None:
    """MLflow never opens a database in which it was killed while it made the tables. So they are made in a file beside
    it, of which SQLite then copies all or nothing."""
    from mlflow import MlflowClient

    for left in database.parent.glob(f"{escape(database.name)}.*{UNFINISHED}*"):  # with SQLite's journals
        left.unlink(missing_ok=True)
    beside = database.with_name(f"{database.name}.{os.getpid()}{UNFINISHED}")
    try:
        MlflowClient(database_uri(beside)).get_experiment_by_name(EXPERIMENT)
        with closing(sqlite3.connect(beside)) as made, closing(sqlite3.connect(database, timeout=30)) as whole:
            made.backup(whole)
    finally:
        beside.unlink(missing_ok=True)


class Experiment:
    """An experiment of a tracking server or database, by `MLFLOW_EXPERIMENT_NAME` or the name `ibml`."""

    def __init__(self, uri: str, experiment: str | None = None):
        self.uri = uri
        self.experiment = experiment or chosen_experiment()

    @cached_property
    def client(self) -> Any:
        check_reachable(self.uri)
        with as_tracking_error(self.uri, opening=True):
            from mlflow import MlflowClient

            for name in ("alembic", "mlflow", "mlflow.store.db.utils"):
                logging.getLogger(name).setLevel(logging.ERROR)
            with _one_at_a_time(database := database_file(self.uri)):
                if database and not database.stat().st_size:
                    _make_tables(database)
                client = MlflowClient(resolved_uri(self.uri))
                client.get_experiment_by_name(self.experiment)  # makes the tables, or brings them up to date
            return client

    @property
    def experiment_id(self) -> str:
        return str(self._found.experiment_id)

    @property
    def created_at(self) -> int:
        """In milliseconds since 1970: no two experiments have both this and the id in common."""
        return self._found.creation_time or 0

    @cached_property
    def _found(self) -> Any:
        """The experiment, made where there is none yet."""
        with as_tracking_error(self.uri):
            found = self.client.get_experiment_by_name(self.experiment)
            if found is None:
                return self._made()
            if found.lifecycle_stage != "active":
                raise TrackingError(f"the experiment {self.experiment!r} is deleted; restore it with mlflow first")
            return found

    def _made(self) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_experiment(self.experiment, self._artifact_location())
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
        return self.client.get_experiment_by_name(self.experiment)

    def run_link(self, run_id: str) -> str:
        """The page of a run: on the server, or for a database where `ibml ui` shows it."""
        server = self.uri.startswith(("http://", "https://"))
        base = server_address(self.uri) if server else UI_ADDRESS
        return f"{base}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def _artifact_location(self) -> str | None:
        """Beside a database file, wherever the command runs; a server decides for itself."""
        database = database_file(self.uri)
        return below(database.parent / "mlruns", self.experiment).as_uri() if database else None

    def runs(self, filter_string: str, deleted: bool = False) -> Iterator[Any]:
        """The experiment's runs that pass a filter, oldest first; of those that are deleted, where it is said."""
        from mlflow.entities import ViewType

        token = None
        while True:
            with as_tracking_error(self.uri):
                page = self.client.search_runs(
                    [self.experiment_id],
                    filter_string,
                    ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY,
                    max_results=1000,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
            yield from page
            token = page.token
            if not token:
                return

    def runs_by_id(self, run_ids: Sequence[str]) -> Iterator[Any]:
        """Those of these runs that the experiment has and that are not deleted."""
        for start in range(0, len(run_ids), _IDS_OF_A_CALL):
            ids = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + _IDS_OF_A_CALL])
            yield from self.runs(f"attributes.run_id IN ({ids})")

    def artifact(self, run_id: str, name: str) -> str:
        """The text of a run's artifact."""
        folder = self._artifacts(run_id)
        with as_tracking_error(self.uri):
            if folder and (folder / name).is_file():
                return (folder / name).read_text(encoding="utf-8")
            with TemporaryDirectory(prefix="ibml-") as temporary:
                return Path(self.client.download_artifacts(run_id, name, temporary)).read_text(encoding="utf-8")

    def artifact_if_any(self, run_id: str, name: str) -> str | None:
        """The text of an artifact beside which others lie; nothing where there is none. It is looked for first, since
        a server is asked again and again for one that it does not have."""
        folder = self._artifacts(run_id)
        there = (folder / name).is_file() if folder else name in self._paths_in(run_id, None)
        return self.artifact(run_id, name) if there else None

    def artifact_paths(self, run_id: str) -> list[str]:
        """All artifacts of a run, with `/` between folder and file."""
        folder = self._artifacts(run_id)
        if folder:
            return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return sorted(self._paths_in(run_id, None))

    def _paths_in(self, run_id: str, folder: str | None) -> Iterator[str]:
        with as_tracking_error(self.uri):
            found = self.client.list_artifacts(run_id, folder)
        for item in found:
            if item.is_dir:
                yield from self._paths_in(run_id, item.path)
            else:
                yield item.path

    def _artifacts(self, run_id: str) -> Path | None:
        """A run's artifacts beside a database file: its folder may have been moved since MLflow noted where it was."""
        database = database_file(self.uri)
        folder = below(database.parent / "mlruns", f"{self.experiment}/{run_id}/artifacts") if database else None
        return folder if folder and folder.is_dir() else None
