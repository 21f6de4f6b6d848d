"""One MLflow experiment: its client, its runs, its artifacts."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from ibml.common.databases import build_sqlite_url, is_read_only, resolve_url
from ibml.common.paths import join_escaped
from ibml.common.processes.ownership import open_temporary_folder, remove_abandoned_folders
from ibml.common.redaction import redact_url
from ibml.tracking.store.schema import (
    EmptyStoreError,
    prepare_reading,
    read_schema,
    require_current,
)
from ibml.tracking.store.uri import (
    TrackingError,
    check_reachable,
    get_database_file,
    get_server_address,
    is_database,
    is_server,
    translate_errors,
)

EXPERIMENT = "ibml"
UI_ADDRESS = "http://127.0.0.1:5000"
_IDS_OF_A_CALL = 200


def choose_experiment() -> str:
    """The experiment that the environment names, else `ibml`."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


@contextmanager
def _lock_folder(database: Path | None) -> Iterator[None]:
    """Two processes that make a database file's tables at once would leave it half made. Locked is the folder, so that
    no file is left."""
    if database is None:
        yield
        return
    folder = os.open(database.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            # Not `filelock`, which locks only files: one would be left beside the user's database.
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _create_tables(database: Path) -> None:
    """Make MLflow's tables in a temporary file, of which SQLite then copies all or nothing: MLflow never opens a
    database in which it was killed while it made them."""
    remove_abandoned_folders([gettempdir()])
    with open_temporary_folder() as folder:
        draft = folder.path / "mlflow.db"
        _initialize_store(build_sqlite_url(draft))
        with (
            closing(sqlite3.connect(draft)) as made,
            closing(sqlite3.connect(database, timeout=30)) as whole,
        ):
            made.backup(whole)


def _silence_loggers() -> None:
    """Print no traceback of an error that is raised as well, and is told in one line."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    for name in ("alembic", "mlflow.store.db.utils", "sqlalchemy.pool"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _initialize_store(address: str) -> None:
    """Let MLflow make its tables. It writes the folder for artifacts into SQL as it is, quotes and colons included, so
    one with either is given as a URI, which has none."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = Path("mlruns").absolute()
    SqlAlchemyStore(address, folder.as_uri() if {"'", ":"} & set(str(folder)) else str(folder))


def _open_store(address: str) -> None:
    """Let MLflow open a store, which makes its tables where there are none."""
    from mlflow import MlflowClient

    MlflowClient(address).get_experiment_by_name(EXPERIMENT)


class Experiment:
    """An experiment of a tracking server or database, by `MLFLOW_EXPERIMENT_NAME` or the name `ibml`. One that is
    opened to be read is not changed in any way: no table, no experiment and no tag is made."""

    def __init__(self, uri: str, experiment: str | None = None, read_only: bool = False):
        self.uri, self.read_only = uri, read_only
        self.experiment = experiment or choose_experiment()

    @cached_property
    def client(self) -> Any:
        with translate_errors(self.uri, opening=True):
            from mlflow import MlflowClient

            return MlflowClient(self.address)

    @cached_property
    def address(self) -> str:
        """The URI by which MLflow reaches the store, which answers there. Raises `TrackingError`."""
        check_reachable(self.uri)
        with translate_errors(self.uri, opening=True):
            import mlflow  # noqa: F401 -- it sets its loggers up, which come to rest after that

            _silence_loggers()
            database = get_database_file(self.uri)
            address = (
                self._resolve_read_address(database)
                if self.read_only
                else self._resolve_write_address(database)
            )
            _open_store(address)
            return address

    def _resolve_read_address(self, database: Path | None) -> str:
        if database is not None:
            prepared = prepare_reading(self.uri, database)
            if isinstance(prepared, str):
                return prepared
            weakref.finalize(self, prepared.remove)
            return prepared.address
        if is_database(self.uri):
            require_current(self.uri, read_schema(self.uri), read_only=True)
        return self.uri

    def _resolve_write_address(self, database: Path | None) -> str:
        if database is not None:
            return self._prepare_file(database)
        if is_database(self.uri):
            require_current(self.uri, read_schema(self.uri))
        return self.uri

    def _prepare_file(self, database: Path) -> str:
        if is_read_only(self.uri):
            raise TrackingError(
                f"MLflow at {self.uri}: the URI opens it for reading only, by mode=ro or immutable"
            )
        try:
            database.open("ab").close()
        except OSError as error:
            words = f"{database} cannot be written: {error.strerror}"
            raise TrackingError(f"MLflow at {redact_url(self.uri)}: {words}") from None
        address = resolve_url(self.uri)
        with _lock_folder(database):
            if not database.stat().st_size:
                _create_tables(database)
            require_current(self.uri, read_schema(address))
            _open_store(address)
        return address

    @property
    def experiment_id(self) -> str:
        return str(self._found.experiment_id)

    @property
    def created_at(self) -> int:
        """In milliseconds since 1970: no two experiments have both this and the id in common."""
        return self._found.creation_time or 0

    @property
    def exists(self) -> bool:
        """Whether the store has the experiment. Only reading can meet one that has not."""
        return not self.read_only or self._existing is not None

    @cached_property
    def _existing(self) -> Any:
        with translate_errors(self.uri):
            try:
                found = self.client.get_experiment_by_name(self.experiment)
            except EmptyStoreError:
                return None
            if found is not None and found.lifecycle_stage != "active":
                raise TrackingError(
                    f"the experiment {self.experiment!r} is deleted; restore it with mlflow first"
                )
            return found

    @cached_property
    def _found(self) -> Any:
        """The experiment, made where there is none yet."""
        if self._existing is not None:
            return self._existing
        if self.read_only:
            words = f"{redact_url(self.uri)} has no experiment {self.experiment!r}"
            raise TrackingError(f"nothing was run here yet: {words}")
        with translate_errors(self.uri):
            return self._create_experiment()

    def _create_experiment(self) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_experiment(self.experiment, self._choose_artifact_location())
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
        return self.client.get_experiment_by_name(self.experiment)

    def build_run_url(self, run_id: str) -> str:
        """The page of a run: on the server, or for a database where `ibml ui` shows it."""
        base = get_server_address(self.uri) if is_server(self.uri) else UI_ADDRESS
        return f"{base}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def _choose_artifact_location(self) -> str | None:
        """Beside a database file, wherever the command runs; a server decides for itself."""
        database = get_database_file(self.uri)
        return (
            join_escaped(database.parent / "mlruns", self.experiment).as_uri() if database else None
        )

    def search_runs(self, filter_string: str, deleted: bool = False) -> Iterator[Any]:
        """The experiment's runs that pass a filter, oldest first; of those that are deleted, where it is said."""
        from mlflow.entities import ViewType

        if not self.exists:
            return
        token = None
        while True:
            with translate_errors(self.uri):
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

    def search_runs_by_id(self, run_ids: Sequence[str]) -> Iterator[Any]:
        """Those of these runs that the experiment has and that are not deleted."""
        for start in range(0, len(run_ids), _IDS_OF_A_CALL):
            ids = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + _IDS_OF_A_CALL])
            yield from self.search_runs(f"attributes.run_id IN ({ids})")

    def read_artifact(self, run_id: str, name: str) -> str:
        """The text of a run's artifact."""
        folder = self._find_artifact_folder(run_id)
        with translate_errors(self.uri):
            if folder and (folder / name).is_file():
                return (folder / name).read_text(encoding="utf-8")
            with open_temporary_folder() as temporary:
                path = self.client.download_artifacts(run_id, name, str(temporary.path))
                return Path(path).read_text(encoding="utf-8")

    def read_artifact_if_any(self, run_id: str, name: str) -> str | None:
        """The text of an artifact beside which others lie; nothing where there is none. It is looked for first, since
        a server is asked again and again for one that it does not have."""
        folder = self._find_artifact_folder(run_id)
        there = (folder / name).is_file() if folder else name in self._walk_artifacts(run_id, None)
        return self.read_artifact(run_id, name) if there else None

    def list_artifact_paths(self, run_id: str) -> list[str]:
        """All artifacts of a run, with `/` between folder and file."""
        folder = self._find_artifact_folder(run_id)
        if folder:
            return sorted(
                path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
            )
        return sorted(self._walk_artifacts(run_id, None))

    def _walk_artifacts(self, run_id: str, folder: str | None) -> Iterator[str]:
        with translate_errors(self.uri):
            found = self.client.list_artifacts(run_id, folder)
        for item in found:
            if item.is_dir:
                yield from self._walk_artifacts(run_id, item.path)
            else:
                yield item.path

    def _find_artifact_folder(self, run_id: str) -> Path | None:
        """A run's artifacts beside a database file: its folder may have been moved since MLflow noted where it was."""
        database = get_database_file(self.uri)
        folder = (
            join_escaped(database.parent / "mlruns", f"{self.experiment}/{run_id}/artifacts")
            if database
            else None
        )
        return folder if folder and folder.is_dir() else None
