"""Studies and trials in MLflow: one parent run per study, one child run per trial.

A trial's run carries its key, so a result is found again by any study that contains the trial. Only the
driver writes; workers never import mlflow.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import yaml

from ibml.config.records import Status, StudyRecord, TrialRecord

# Read by mlflow when it is imported: no messages to its makers, no bars among ours.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

DEFAULT_URI = "sqlite:///mlflow.db"
EXPERIMENT = "ibml"

_RECORD = "study.json"
_BATCH = 1000
"""MLflow's limit of metrics in one call."""

Row = Mapping[str, float]


class TrackingError(RuntimeError):
    """The store cannot be used: not reachable, not readable, or without what was asked for."""


def choose_uri(given: str | None) -> str:
    """The tracking URI: as given, else `MLFLOW_TRACKING_URI`, else a SQLite file in the working folder."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def shown_uri(uri: str) -> str:
    """A URI without the password in it."""
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


class MlflowStore:
    """Reads and writes one experiment of a tracking server or database."""

    def __init__(self, uri: str, experiment: str | None = None):
        self.uri = uri
        self.experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT

    @cached_property
    def client(self) -> Any:
        _check_reachable(self.uri)
        with _told(self.uri):
            from mlflow import MlflowClient

            for name in ("alembic", "mlflow", "mlflow.store.db.utils"):
                logging.getLogger(name).setLevel(logging.ERROR)
            return MlflowClient(self.uri)

    @cached_property
    def experiment_id(self) -> str:
        """The experiment, made where there is none yet."""
        with _told(self.uri):
            found = self.client.get_experiment_by_name(self.experiment)
            if found is None:
                return str(self.client.create_experiment(self.experiment, self._artifact_location()))
            if found.lifecycle_stage != "active":
                raise TrackingError(f"the experiment {self.experiment!r} is deleted; restore it with mlflow first")
            return str(found.experiment_id)

    def _artifact_location(self) -> str | None:
        """Beside a database file, wherever the command runs; a server decides for itself."""
        path = self.uri.removeprefix("sqlite:///")
        return None if path == self.uri else str(Path(path).absolute().parent / "mlruns" / self.experiment)

    def results(self) -> dict[str, TrialRecord]:
        """The result of every key: its first ended run, else its last run that failed or never ended."""
        records: dict[str, TrialRecord] = {}
        for run in self._runs("tags.`ibml.kind` = 'trial'", "attributes.start_time ASC"):
            record = _record(run)
            known = records.get(record.key)
            if known is None or not known.ended:
                records[record.key] = record
        return records

    def study(self, name: str) -> StudyRecord:
        """The last version of a study; raises `TrackingError` where there is none."""
        run = self._study_run(name)
        if run is None:
            known = sorted({r.data.tags["ibml.study"] for r in self._runs("tags.`ibml.kind` = 'study'")})
            hint = f"; it has {', '.join(known)}" if known else "; it has no study yet"
            raise TrackingError(f"no study is called {name!r} in {shown_uri(self.uri)}{hint}")
        with _told(self.uri):
            return StudyRecord.model_validate_json(self._artifact(run.info.run_id, _RECORD))

    def open_study(self, record: StudyRecord, text: str) -> str:
        """The id of the study's run, marked as running; made where there is none yet. `text` is its file."""
        tags = {"ibml.kind": "study", "ibml.study": record.name, "ibml.file_hash": record.file_hash}
        with _told(self.uri):
            run = self._study_run(record.name)
            if run is None:
                tags |= {"mlflow.note.content": record.description, **_origin()}
                run = self.client.create_run(self.experiment_id, tags=tags, run_name=record.name)
            run_id = str(run.info.run_id)
            self.client.update_run(run_id, status="RUNNING")
            self.client.set_tag(run_id, "ibml.file_hash", record.file_hash)
            self.client.log_text(run_id, text, "study.yaml")
            self.client.log_text(run_id, record.model_dump_json(indent=1), _RECORD)
            return run_id

    def close_study(self, run_id: str, status: str, files: Mapping[str, str]) -> None:
        """Store the study's table and how it ended: FINISHED, FAILED or KILLED."""
        with _told(self.uri):
            for name, text in files.items():
                self.client.log_text(run_id, text, name)
            self.client.set_terminated(run_id, status)

    def share_trial(self, run_id: str, study: str, arm: str) -> None:
        """Mark another study's trial as part of this one too, so that the UI can filter by it."""
        with _told(self.uri):
            self.client.set_tag(run_id, f"ibml.study.{study}", arm)

    def start_trial(
        self,
        name: str,
        parent: str | None,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        config: Mapping[str, Any],
    ) -> str:
        """The id of a new run for a trial, below its study's run if it has one."""
        all_tags = {"ibml.kind": "trial", **_below(parent), **tags, **_origin()}
        with _told(self.uri):
            run_id = str(self.client.create_run(self.experiment_id, tags=all_tags, run_name=name).info.run_id)
            self._log_params(run_id, params)
            self.client.log_text(run_id, yaml.safe_dump(dict(config), sort_keys=False), "config.yaml")
        return run_id

    def resume_trial(self, run_id: str, parent: str | None, tags: Mapping[str, str]) -> tuple[str, int]:
        """Go on with a run that was cut off or failed; the number of epochs that it has already."""
        with _told(self.uri):
            self.client.update_run(run_id, status="RUNNING")
            fresh = {**tags, **_below(parent), "ibml.status": "running", "ibml.reason": ""}
            for key, value in fresh.items():
                self.client.set_tag(run_id, key, value)
            history = self.client.get_metric_history(run_id, "train.loss")
        return run_id, 1 + max((metric.step for metric in history), default=-1)

    def _log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        items = [Param(key, _text(value)) for key, value in params.items()]
        for start in range(0, len(items), 100):
            self.client.log_batch(run_id, params=items[start : start + 100])

    def log_rows(self, run_id: str, rows: Sequence[Row]) -> None:
        """Epochs' metrics, each row with its `epoch` as step, in as few calls as MLflow allows."""
        entries = [(k, v, int(row["epoch"])) for row in rows for k, v in row.items() if k != "epoch"]
        self._log_metrics(run_id, entries)

    def _log_metrics(self, run_id: str, entries: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with _told(self.uri):
            for start in range(0, len(entries), _BATCH):
                chunk = [Metric(key, value, now, step) for key, value, step in entries[start : start + _BATCH]]
                self.client.log_batch(run_id, metrics=chunk)

    def end_trial(
        self, run_id: str, status: Status, metrics: Row, step: int, reason: str = "", log: str | None = None
    ) -> None:
        """Store how a trial ended. The status comes last: a run without it is not a result."""
        self._log_metrics(run_id, [(key, value, step) for key, value in metrics.items()])
        with _told(self.uri):
            if log is not None:
                self.client.log_text(run_id, log, "traceback.txt")
            self.client.set_tag(run_id, "ibml.reason", reason[:500])
            self.client.set_tag(run_id, "ibml.status", status)
            self.client.set_terminated(run_id, "FAILED" if status == "failed" else "FINISHED")

    def stop_trial(self, run_id: str) -> None:
        """Mark a trial that was interrupted; the same study goes on with it."""
        with _told(self.uri):
            self.client.set_terminated(run_id, "KILLED")

    def _study_run(self, name: str) -> Any:
        found = self._runs(f"tags.`ibml.kind` = 'study' and tags.`ibml.study` = '{name}'", "attributes.start_time ASC")
        return next(found, None)

    def _runs(self, filter_string: str, order: str = "attributes.start_time ASC") -> Iterator[Any]:
        token = None
        while True:
            with _told(self.uri):
                page = self.client.search_runs(
                    [self.experiment_id], filter_string, max_results=5000, order_by=[order], page_token=token
                )
            yield from page
            token = page.token
            if not token:
                return

    def _artifact(self, run_id: str, name: str) -> str:
        with TemporaryDirectory(prefix="ibml-") as folder:
            return Path(self.client.download_artifacts(run_id, name, folder)).read_text()


def _check_reachable(uri: str) -> None:
    """MLflow repeats what fails for minutes, which at the start only hides a wrong URI."""
    database = uri.removeprefix("sqlite:///")
    if database != uri and not Path(database).absolute().parent.is_dir():
        raise TrackingError(f"MLflow at {uri}: no folder {Path(database).absolute().parent}")
    if uri.startswith(("http://", "https://")):
        try:
            urlopen(f"{uri.rstrip('/')}/health", timeout=10).close()
        except HTTPError:
            return  # it answered
        except (OSError, ValueError) as error:
            raise TrackingError(f"MLflow at {shown_uri(uri)} does not answer: {error}") from None


def _record(run: Any) -> TrialRecord:
    tags = run.data.tags
    status = tags.get("ibml.status", "running")
    return TrialRecord(
        key=tags.get("ibml.key", ""),
        run_id=run.info.run_id,
        status=status if status in ("finished", "diverged", "failed") else "running",
        metrics=dict(run.data.metrics),
        reason=tags.get("ibml.reason", ""),
        fingerprint=tags.get("ibml.data", ""),
        revision=tags.get("ibml.revision", ""),
        studies={k.removeprefix("ibml.study."): v for k, v in tags.items() if k.startswith("ibml.study.")},
        ended_at=run.info.end_time or 0,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _below(parent: str | None) -> dict[str, str]:
    return {"mlflow.parentRunId": parent} if parent else {}


def _origin() -> dict[str, str]:
    return {"mlflow.source.name": "ibml", "mlflow.source.type": "LOCAL", "mlflow.user": getpass.getuser()}


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """MLflow's and the database's errors as one line that names the store."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise TrackingError(f"MLflow at {shown_uri(uri)}: {first[0][:300]}") from error
