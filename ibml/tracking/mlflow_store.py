"""Studies and trials in MLflow: one parent run per study, one child run per trial.

A trial's run carries its key, so a result is found again by any study that contains the trial. Only the
driver writes; workers never import mlflow.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from ibml.config.load import dump
from ibml.config.records import SearchRecord, Status, StudyRecord
from ibml.tracking.epochs import EPOCHS_FILE, epochs_text
from ibml.tracking.reader import CONFIG_FILE, RECORDS, TRACEBACK_FILE, Kind, StoreReader
from ibml.tracking.uri import as_tracking_error

__all__ = ["LAST_OF_ROW", "RECORDS", "Kind", "MlflowStore", "OpenRun", "TrialDescription"]

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


class MlflowStore(StoreReader):
    """Reads and writes studies, searches and trials in one experiment."""

    @contextmanager
    def open_run(
        self,
        kind: Kind,
        record: StudyRecord | SearchRecord,
        text: str,
        parent: str | None = None,
        provisional: bool = False,
    ) -> Iterator[OpenRun]:
        """The run of a study or a search, marked as running until the end of the context, and then as its `status`
        says. It is made where there is none yet, below the `parent` run if it has one. `text` is the file. A record
        that is `provisional` does not take the place of one that is there."""
        opened = OpenRun(self._begin_run(kind, record, text, parent, provisional))
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

    def _begin_run(
        self, kind: Kind, record: StudyRecord | SearchRecord, text: str, parent: str | None, provisional: bool
    ) -> str:
        tags = {"ibml.kind": kind, f"ibml.{kind}": record.name, "mlflow.note.content": record.description}
        with as_tracking_error(self.uri):
            run = self._parent_run(kind, record.name)
            keep = provisional and run is not None
            if run is None:
                tags = {**tags, **_below(parent), **_origin()}
                run = self.client.create_run(self.experiment_id, tags=tags, run_name=record.name)
            run_id = str(run.info.run_id)
            self.client.update_run(run_id, status="RUNNING")
            self.client.set_tag(run_id, "ibml.file_hash", record.file_hash)
            if not keep:
                self.client.log_text(run_id, text, f"{kind}.yaml")
                self.client.log_text(run_id, record.model_dump_json(indent=1), RECORDS[kind])
            return run_id

    def add_files(self, kind: Kind, name: str, files: Mapping[str, str | bytes]) -> None:
        """Put files into the run of a study or search, if there is one, in place of earlier ones."""
        run = self._parent_run(kind, name)
        if run is not None:
            with as_tracking_error(self.uri):
                for path, content in files.items():
                    self._log_file(run.info.run_id, path, content)

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
        self.cache.share(run_id, study, arm)

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
        self.client.log_text(run_id, dump(trial.config), CONFIG_FILE)

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
        self,
        run_id: str,
        status: Status,
        metrics: Row,
        step: int,
        tags: Mapping[str, str],
        log: str | None = None,
        epochs: Sequence[Row] = (),
    ) -> None:
        """Store how a trial ended, and all its epochs as a file if they are given. The status comes last: a run without
        it is not a result."""
        self._log_metrics(run_id, [(key, value, step) for key, value in metrics.items()])
        with as_tracking_error(self.uri):
            if log is not None:
                self.client.log_text(run_id, log, TRACEBACK_FILE)
            if epochs:
                self.client.log_text(run_id, epochs_text(epochs), EPOCHS_FILE)
            for key, value in tags.items():
                self.client.set_tag(run_id, key, value[:500])
            self.client.set_tag(run_id, "ibml.status", status)
            self.client.set_terminated(run_id, {"failed": "FAILED", "pruned": "KILLED"}.get(status, "FINISHED"))

    def stop_trial(self, run_id: str) -> None:
        """Mark a trial that was interrupted; the same study goes on with it."""
        with as_tracking_error(self.uri):
            self.client.set_terminated(run_id, "KILLED")


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
