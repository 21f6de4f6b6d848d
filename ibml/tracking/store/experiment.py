"""Access to one MLflow experiment: client, runs and artifacts."""

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
_IDS_PER_CALL = 200
_RUNS_PER_PAGE = 1000


def choose_experiment() -> str:
    """Return the experiment's name: `MLFLOW_EXPERIMENT_NAME`, or else `ibml`."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


@contextmanager
def _lock_folder(database: Path) -> Iterator[None]:
    """Lock the folder of a database while its tables are created.

    Two processes that create the tables at the same time would leave the database incomplete. The
    folder is locked instead of a file, so that no lock file remains.
    """
    folder = os.open(database.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            # `filelock` locks only files; its file would remain in the user's folder.
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _create_tables(database: Path) -> None:
    """Create MLflow's tables in a temporary file, and copy it as one SQLite transaction.

    MLflow cannot open a database in which the creation of tables was interrupted.
    """
    remove_abandoned_folders([gettempdir()])
    with open_temporary_folder() as folder:
        draft = folder.path / "mlflow.db"
        _initialize_store(build_sqlite_url(draft))
        with (
            closing(sqlite3.connect(draft)) as source,
            closing(sqlite3.connect(database, timeout=30)) as target,
        ):
            source.backup(target)


def _silence_loggers() -> None:
    """Silence loggers that print tracebacks of errors. The errors are raised as well."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    for name in ("alembic", "mlflow.store.db.utils", "sqlalchemy.pool"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _initialize_store(address: str) -> None:
    """Let MLflow create its tables.

    MLflow inserts the artifact folder into SQL without escaping quotes and colons. A folder with
    such characters is passed as a URI, which escapes them.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = Path("mlruns").absolute()
    needs_escaping = {"'", ":"} & set(str(folder))
    SqlAlchemyStore(address, folder.as_uri() if needs_escaping else str(folder))


def _open_store(address: str) -> None:
    """Let MLflow open a store; it creates missing tables."""
    from mlflow import MlflowClient

    MlflowClient(address).get_experiment_by_name(EXPERIMENT)


class Experiment:
    """One experiment of a tracking server or database.

    All properties and methods raise `TrackingError` if the store cannot be used.

    Args:
        uri: Tracking URI.
        experiment: Name of the experiment; the default is given by `choose_experiment`.
        read_only: If True, the store is not changed: no table, experiment or tag is created.
    """

    def __init__(self, uri: str, experiment: str | None = None, read_only: bool = False):
        self.uri = uri
        self.read_only = read_only
        self.experiment = experiment or choose_experiment()

    @cached_property
    def client(self) -> Any:
        """MLflow client of the store, which is opened on first use."""
        with translate_errors(self.uri, opening=True):
            from mlflow import MlflowClient

            return MlflowClient(self.address)

    @cached_property
    def address(self) -> str:
        """URI by which MLflow reaches the store, which is opened on first use."""
        check_reachable(self.uri)
        with translate_errors(self.uri, opening=True):
            import mlflow  # noqa: F401 -- it sets its loggers up, which come to rest after that

            _silence_loggers()
            database = get_database_file(self.uri)
            if self.read_only:
                address = self._resolve_read_address(database)
            else:
                address = self._resolve_write_address(database)
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
            message = f"MLflow at {self.uri}: the URI opens it read-only, by mode=ro or immutable"
            raise TrackingError(message)
        try:
            database.open("ab").close()
        except OSError as error:
            problem = f"{database} cannot be written: {error.strerror}"
            raise TrackingError(f"MLflow at {redact_url(self.uri)}: {problem}") from None
        address = resolve_url(self.uri)
        with _lock_folder(database):
            if not database.stat().st_size:
                _create_tables(database)
            require_current(self.uri, read_schema(address))
            _open_store(address)
        return address

    @property
    def experiment_id(self) -> str:
        """MLflow's id of the experiment, which is created if it is missing.

        A read-only store without the experiment raises `TrackingError`.
        """
        return str(self._found.experiment_id)

    @property
    def created_at(self) -> int:
        """Creation time in milliseconds since 1970. With the id, it identifies an experiment."""
        return self._found.creation_time or 0

    @property
    def exists(self) -> bool:
        """True if the store has the experiment. It can be missing only in a read-only store."""
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
        """MLflow's experiment, which is created if it is missing."""
        if self._existing is not None:
            return self._existing
        if self.read_only:
            problem = f"{redact_url(self.uri)} has no experiment {self.experiment!r}"
            raise TrackingError(f"nothing was run here yet: {problem}")
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
        """Return the URL of a run: on the server, or on `ibml ui` for a database."""
        base = get_server_address(self.uri) if is_server(self.uri) else UI_ADDRESS
        return f"{base}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def _choose_artifact_location(self) -> str | None:
        """Return the artifact folder next to a SQLite file; None lets a server choose."""
        database = get_database_file(self.uri)
        if database is None:
            return None
        return join_escaped(database.parent / "mlruns", self.experiment).as_uri()

    def search_runs(self, filter_string: str, deleted: bool = False) -> Iterator[Any]:
        """Yield the experiment's runs that match a filter, oldest first.

        Args:
            filter_string: Filter in MLflow's syntax.
            deleted: If True, search deleted runs only; if False, runs that are not deleted.

        Yields:
            MLflow's runs.

        Raises:
            TrackingError: The store cannot be read.
        """
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
                    max_results=_RUNS_PER_PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
            yield from page
            token = page.token
            if not token:
                return

    def search_runs_by_id(self, run_ids: Sequence[str]) -> Iterator[Any]:
        """Yield the runs with the given ids that the experiment has and that are not deleted.

        Args:
            run_ids: Ids of runs, in any number.

        Yields:
            MLflow's runs.

        Raises:
            TrackingError: The store cannot be read.
        """
        for start in range(0, len(run_ids), _IDS_PER_CALL):
            batch = run_ids[start : start + _IDS_PER_CALL]
            ids = ", ".join(f"'{run_id}'" for run_id in batch)
            yield from self.search_runs(f"attributes.run_id IN ({ids})")

    def read_artifact(self, run_id: str, name: str) -> str:
        """Return the text of a run's artifact.

        Args:
            run_id: Id of the run.
            name: Path of the artifact within the run.

        Returns:
            The text, decoded as UTF-8.

        Raises:
            TrackingError: The artifact is missing or cannot be read.
        """
        folder = self._find_artifact_folder(run_id)
        with translate_errors(self.uri):
            if folder and (folder / name).is_file():
                return (folder / name).read_text(encoding="utf-8")
            with open_temporary_folder() as temporary:
                path = self.client.download_artifacts(run_id, name, str(temporary.path))
                return Path(path).read_text(encoding="utf-8")

    def read_artifact_if_any(self, run_id: str, name: str) -> str | None:
        """Return the text of a run's artifact, or None if it is missing.

        Artifacts are listed first, because MLflow retries a download from a server many times.

        Args:
            run_id: Id of a run that has other artifacts.
            name: Path of the artifact within the run.

        Returns:
            The text, decoded as UTF-8, or None.

        Raises:
            TrackingError: The store cannot be read.
        """
        folder = self._find_artifact_folder(run_id)
        if folder:
            is_stored = (folder / name).is_file()
        else:
            is_stored = name in self._walk_artifacts(run_id, None)
        return self.read_artifact(run_id, name) if is_stored else None

    def list_artifact_paths(self, run_id: str) -> list[str]:
        """Return the paths of all artifacts of a run, sorted, with `/` as separator."""
        folder = self._find_artifact_folder(run_id)
        if folder is None:
            return sorted(self._walk_artifacts(run_id, None))
        files = (path for path in folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(folder).as_posix() for path in files)

    def _walk_artifacts(self, run_id: str, folder: str | None) -> Iterator[str]:
        with translate_errors(self.uri):
            found = self.client.list_artifacts(run_id, folder)
        for item in found:
            if item.is_dir:
                yield from self._walk_artifacts(run_id, item.path)
            else:
                yield item.path

    def _find_artifact_folder(self, run_id: str) -> Path | None:
        """Return the artifact folder of a run next to a SQLite file, if it exists.

        MLflow's own record of the folder is wrong after the store was moved.
        """
        database = get_database_file(self.uri)
        if database is None:
            return None
        folder = join_escaped(database.parent / "mlruns", f"{self.experiment}/{run_id}/artifacts")
        return folder if folder.is_dir() else None
