"""One MLflow experiment: its client, its runs, its artifacts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ibml.tracking.uri import TrackingError, as_tracking_error, check_reachable, database_file, resolved_uri

EXPERIMENT = "ibml"


class Experiment:
    """An experiment of a tracking server or database, by `MLFLOW_EXPERIMENT_NAME` or the name `ibml`."""

    def __init__(self, uri: str, experiment: str | None = None):
        self.uri = uri
        self.experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT

    @cached_property
    def client(self) -> Any:
        check_reachable(self.uri)
        with as_tracking_error(self.uri):
            from mlflow import MlflowClient

            for name in ("alembic", "mlflow", "mlflow.store.db.utils"):
                logging.getLogger(name).setLevel(logging.ERROR)
            return MlflowClient(resolved_uri(self.uri))

    @cached_property
    def experiment_id(self) -> str:
        """The experiment, made where there is none yet."""
        with as_tracking_error(self.uri):
            found = self.client.get_experiment_by_name(self.experiment)
            if found is None:
                return str(self.client.create_experiment(self.experiment, self._artifact_location()))
            if found.lifecycle_stage != "active":
                raise TrackingError(f"the experiment {self.experiment!r} is deleted; restore it with mlflow first")
            return str(found.experiment_id)

    def _artifact_location(self) -> str | None:
        """Beside a database file, wherever the command runs; a server decides for itself."""
        database = database_file(self.uri)
        return (database.parent / "mlruns" / self.experiment).as_uri() if database else None

    def runs(self, filter_string: str) -> Iterator[Any]:
        """The experiment's runs that pass a filter, oldest first."""
        token = None
        while True:
            with as_tracking_error(self.uri):
                page = self.client.search_runs(
                    [self.experiment_id],
                    filter_string,
                    max_results=5000,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
            yield from page
            token = page.token
            if not token:
                return

    def artifact(self, run_id: str, name: str) -> str:
        """The text of a run's artifact."""
        database = database_file(self.uri)
        if database:  # the folder may have been moved since MLflow noted where it was
            beside = database.parent / "mlruns" / self.experiment / run_id / "artifacts" / name
            if beside.is_file():
                return beside.read_text()
        with TemporaryDirectory(prefix="ibml-") as folder:
            return Path(self.client.download_artifacts(run_id, name, folder)).read_text()
