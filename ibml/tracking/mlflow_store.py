"""Studies and trials in MLflow: one parent run per study, one child run per trial.

A trial's run carries its key, so a result is found again by any study that contains the trial. Only the
driver writes; workers never import mlflow.
"""

from __future__ import annotations

import getpass
import itertools
import json
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import ValidationError

from ibml.config.load import dump
from ibml.config.records import SearchRecord, Status, StudyRecord, TrialRecord
from ibml.tracking.uri import TrackingError, as_tracking_error, check_reachable, database_file, resolved_uri, shown_uri

EXPERIMENT = "ibml"

Kind = Literal["study", "search"]
RECORDS: dict[Kind, str] = {"study": "study.json", "search": "search.json"}
LAST_OF_ROW = "time.epoch"
"""The metric that stands for a whole epoch having been logged."""
_BATCH = 1000
"""MLflow's limit of metrics in one call."""

Row = Mapping[str, float]


@dataclass
class OpenRun:
    """The run of a study or a search while it is written: what it ends with, and the files that are stored then."""

    run_id: str
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FAILED"
    files: dict[str, str | bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialDescription:
    """What a trial's run shows before it has results: name, parameters, tags, and the configuration as a file."""

    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    config: Mapping[str, Any]


class MlflowStore:
    """Reads and writes one experiment of a tracking server or database."""

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

    def results(self) -> dict[str, TrialRecord]:
        """The result of every key: its first ended run, else its last run that failed or never ended."""
        records: dict[str, TrialRecord] = {}
        for run in self._runs("tags.`ibml.kind` = 'trial'"):
            record = _record(run)
            known = records.get(record.key)
            if known is None or not known.ended:
                records[record.key] = record
        return records

    def study(self, name: str) -> StudyRecord:
        """The last version of a study; raises `TrackingError` where there is none."""
        run = self._parent_run("study", name)
        if run is None:
            known = self.names("study")
            hint = f"; it has {', '.join(known)}" if known else "; it has no study yet"
            raise TrackingError(f"no study is called {name!r} in {shown_uri(self.uri)}{hint}")
        with as_tracking_error(self.uri):
            text = self._artifact(run.info.run_id, RECORDS["study"])
        try:
            return StudyRecord.model_validate_json(text)
        except ValidationError:
            message = f"study {name!r} was recorded by another version of ibml; its own command records it anew"
            raise TrackingError(message) from None

    def search(self, name: str) -> SearchRecord:
        """The last record of a search; raises `TrackingError` where there is none."""
        run = self._parent_run("search", name)
        if run is None:
            known = self.names("search")
            hint = f"; it has {', '.join(known)}" if known else "; it has no search yet"
            raise TrackingError(f"no search is called {name!r} in {shown_uri(self.uri)}{hint}")
        with as_tracking_error(self.uri):
            text = self._artifact(run.info.run_id, RECORDS["search"])
        try:
            return SearchRecord.model_validate_json(text)
        except ValidationError:
            message = f"search {name!r} was recorded by another version of ibml; its own command records it anew"
            raise TrackingError(message) from None

    def names(self, kind: Kind) -> list[str]:
        """The studies or searches that there are."""
        return sorted({run.data.tags[f"ibml.{kind}"] for run in self._runs(f"tags.`ibml.kind` = '{kind}'")})

    @contextmanager
    def open_run(
        self, kind: Kind, record: StudyRecord | SearchRecord, text: str, parent: str | None = None
    ) -> Iterator[OpenRun]:
        """The run of a study or a search, marked as running until the end of the context, and then as its `status`
        says. It is made where there is none yet, below the `parent` run if it has one. `text` is the file."""
        opened = OpenRun(self._begin_run(kind, record, text, parent))
        try:
            yield opened
        except KeyboardInterrupt:
            opened.status = "KILLED"
            raise
        finally:
            with as_tracking_error(self.uri):
                for name, content in opened.files.items():
                    self._log_file(opened.run_id, name, content)
                self.client.set_terminated(opened.run_id, opened.status)

    def _begin_run(self, kind: Kind, record: StudyRecord | SearchRecord, text: str, parent: str | None) -> str:
        tags = {"ibml.kind": kind, f"ibml.{kind}": record.name, "mlflow.note.content": record.description}
        with as_tracking_error(self.uri):
            run = self._parent_run(kind, record.name)
            if run is None:
                tags = {**tags, **_below(parent), **_origin()}
                run = self.client.create_run(self.experiment_id, tags=tags, run_name=record.name)
            run_id = str(run.info.run_id)
            self.client.update_run(run_id, status="RUNNING")
            self.client.set_tag(run_id, "ibml.file_hash", record.file_hash)
            self.client.log_text(run_id, text, f"{kind}.yaml")
            self.client.log_text(run_id, record.model_dump_json(indent=1), RECORDS[kind])
            return run_id

    def _log_file(self, run_id: str, name: str, content: str | bytes) -> None:
        if isinstance(content, str):
            self.client.log_text(run_id, content, name)
            return
        with TemporaryDirectory(prefix="ibml-") as folder:
            path = Path(folder) / Path(name).name
            path.write_bytes(content)
            parent = str(Path(name).parent)
            self.client.log_artifact(run_id, str(path), None if parent == "." else parent)

    def share_trial(self, run_id: str, study: str, arm: str) -> None:
        """Mark another study's trial as part of this one too, so that the UI can filter by it."""
        with as_tracking_error(self.uri):
            self.client.set_tag(run_id, f"ibml.study.{study}", arm)

    def tag_trial(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Say more about a trial that goes on."""
        with as_tracking_error(self.uri):
            for key, value in tags.items():
                self.client.set_tag(run_id, key, value)

    def start_trial(self, trial: TrialDescription, parent: str | None) -> str:
        """The id of a new run for a trial, below its study's run if it has one."""
        tags = {"ibml.kind": "trial", **_below(parent), **trial.tags, **_origin()}
        with as_tracking_error(self.uri):
            run = self.client.create_run(self.experiment_id, tags=tags, run_name=trial.name)
            run_id = str(run.info.run_id)
            self._describe(run_id, trial)
        return run_id

    def trial(self, run_id: str) -> TrialRecord:
        """A trial's run as it is now."""
        with as_tracking_error(self.uri):
            return _record(self.client.get_run(run_id))

    def history(self, run_id: str, metrics: Collection[str]) -> list[dict[str, float]]:
        """The epochs that a run has logged without a gap from the first on, each with `epoch` and these metrics."""
        rows: dict[int, dict[str, float]] = {}
        with as_tracking_error(self.uri):
            for name in metrics:
                for point in self.client.get_metric_history(run_id, name):
                    rows.setdefault(point.step, {"epoch": float(point.step)})[name] = point.value
        whole = itertools.takewhile(lambda epoch: len(rows.get(epoch, {})) == len(metrics) + 1, itertools.count())
        return [rows[epoch] for epoch in whole]

    def resume_trial(self, run_id: str, trial: TrialDescription, parent: str | None) -> int:
        """Go on with a run that was cut off or failed; the number of epochs that it has already."""
        with as_tracking_error(self.uri):
            self.client.update_run(run_id, status="RUNNING")
            fresh = {**trial.tags, **_below(parent), "ibml.status": "running", "ibml.reason": ""}
            for key, value in fresh.items():
                self.client.set_tag(run_id, key, value)
            self._describe(run_id, trial)
            history = self.client.get_metric_history(run_id, LAST_OF_ROW)
        return 1 + max((metric.step for metric in history), default=-1)

    def _describe(self, run_id: str, trial: TrialDescription) -> None:
        self._log_params(run_id, trial.params)
        self.client.log_text(run_id, dump(trial.config), "config.yaml")

    def _log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        items = [Param(key, _text(value)) for key, value in params.items()]
        for start in range(0, len(items), 100):
            self.client.log_batch(run_id, params=items[start : start + 100])

    def log_rows(self, run_id: str, rows: Sequence[Row]) -> None:
        """Epochs' metrics, each row with its `epoch` as step, in as few calls as MLflow allows; a row is never cut."""
        calls: list[list[tuple[str, float, int]]] = [[]]
        for row in rows:
            entries = [(key, value, int(row["epoch"])) for key, value in row.items() if key != "epoch"]
            if len(calls[-1]) + len(entries) > _BATCH:
                calls.append([])
            calls[-1] += entries
        for entries in calls:
            self._log_metrics(run_id, entries)

    def _log_metrics(self, run_id: str, entries: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with as_tracking_error(self.uri):
            if entries:
                metrics = [Metric(key, value, now, step) for key, value, step in entries]
                self.client.log_batch(run_id, metrics=metrics)

    def end_trial(
        self, run_id: str, status: Status, metrics: Row, step: int, tags: Mapping[str, str], log: str | None = None
    ) -> None:
        """Store how a trial ended. The status comes last: a run without it is not a result."""
        self._log_metrics(run_id, [(key, value, step) for key, value in metrics.items()])
        with as_tracking_error(self.uri):
            if log is not None:
                self.client.log_text(run_id, log, "traceback.txt")
            for key, value in tags.items():
                self.client.set_tag(run_id, key, value[:500])
            self.client.set_tag(run_id, "ibml.status", status)
            self.client.set_terminated(run_id, {"failed": "FAILED", "pruned": "KILLED"}.get(status, "FINISHED"))

    def stop_trial(self, run_id: str) -> None:
        """Mark a trial that was interrupted; the same study goes on with it."""
        with as_tracking_error(self.uri):
            self.client.set_terminated(run_id, "KILLED")

    def _parent_run(self, kind: Kind, name: str) -> Any:
        if "'" in name:  # a filter cannot quote it
            runs = self._runs(f"tags.`ibml.kind` = '{kind}'")
            return next((run for run in runs if run.data.tags[f"ibml.{kind}"] == name), None)
        return next(self._runs(f"tags.`ibml.kind` = '{kind}' and tags.`ibml.{kind}` = '{name}'"), None)

    def _runs(self, filter_string: str) -> Iterator[Any]:
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

    def _artifact(self, run_id: str, name: str) -> str:
        database = database_file(self.uri)
        if database:  # the folder may have been moved since MLflow noted where it was
            beside = database.parent / "mlruns" / self.experiment / run_id / "artifacts" / name
            if beside.is_file():
                return beside.read_text()
        with TemporaryDirectory(prefix="ibml-") as folder:
            return Path(self.client.download_artifacts(run_id, name, folder)).read_text()


def _record(run: Any) -> TrialRecord:
    tags = run.data.tags
    status = tags.get("ibml.status", "running")
    return TrialRecord(
        key=tags.get("ibml.key", ""),
        run_id=run.info.run_id,
        status=status if status in ("finished", "diverged", "failed", "pruned") else "running",
        metrics=dict(run.data.metrics),
        reason=tags.get("ibml.reason", ""),
        fingerprint=tags.get("ibml.data", ""),
        revision=tags.get("ibml.revision", ""),
        platform=tags.get("ibml.platform", ""),
        studies={k.removeprefix("ibml.study."): v for k, v in tags.items() if k.startswith("ibml.study.")},
        ended_at=run.info.end_time or 0,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id need not have a name
        return f"uid {os.getuid()}"


def _below(parent: str | None) -> dict[str, str]:
    return {"mlflow.parentRunId": parent} if parent else {}


def _origin() -> dict[str, str]:
    return {"mlflow.source.name": "ibml", "mlflow.source.type": "LOCAL", "mlflow.user": _user()}
