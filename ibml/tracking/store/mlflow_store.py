"""Studies, searches and trials in MLflow: one parent run per study, one child run per trial.

A trial's run has the trial's key as a tag, so every study that contains the trial finds its result.
Only the driver writes to MLflow; workers never import it.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ibml.common.processes.ownership import open_temporary_folder
from ibml.common.yaml.documents import dump
from ibml.records import MetricRow, SearchRecord, StudyRecord
from ibml.tracking.journal.events import TrialDescription, TrialEnded
from ibml.tracking.store.epochs_csv import EPOCHS_FILE, format_epochs
from ibml.tracking.store.reader import CONFIG_FILE, RECORDS, TRACEBACK_FILE, Kind, StoreReader
from ibml.tracking.store.trial_reader import DRIVER_TAG
from ibml.tracking.store.uri import TrackingError, translate_errors
from ibml.tracking.study_tags import format_study_tag

__all__ = ["LAST_OF_ROW", "RECORDS", "Kind", "MlflowStore", "OpenRun"]

LAST_OF_ROW = "time.epoch"
"""Metric whose presence shows that all metrics of an epoch were logged."""
_BATCH = 900
"""Metrics per call. MLflow allows 1,000 metrics, parameters and tags together."""
Point = tuple[str, float, int, int]
"""Name, value, step and time of a metric."""
_PARAMS = 100
"""MLflow's limit of parameters per call."""
_TAG = 500
"""Length to which the value of a tag is truncated."""


@dataclass
class OpenRun:
    """Run of a study or a search while it is being written.

    Attributes:
        run_id: Id of the run.
        is_new: True if the run was created now.
        status: Status at the end of the run.
        files: Path -> content of artifacts to store at the end of the run.
    """

    run_id: str
    is_new: bool
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FAILED"
    files: dict[str, str | bytes] = field(default_factory=dict)


class MlflowStore(StoreReader):
    """Reads and writes the studies, searches and trials of one experiment.

    All methods raise `TrackingError` if the store cannot be read or written.
    """

    @contextmanager
    def open_run(
        self,
        kind: Kind,
        record: StudyRecord | SearchRecord,
        text: str,
        parent: str | None = None,
        provisional: bool = False,
        driver: str = "",
    ) -> Iterator[OpenRun]:
        """Open the run of a study or a search, and create it if it is missing.

        The run is marked as running until the context ends. Then its files and its status are
        stored.

        Args:
            kind: Kind of the run.
            record: Record to store.
            text: Content of the YAML file.
            parent: Id of the parent run, for a new run.
            provisional: If True, an existing record is not replaced.
            driver: Id of the driver that works on the run.

        Yields:
            The run. Set its `status` and add its `files` before the context ends.

        Raises:
            TrackingError: The store cannot be written.
        """
        opened = self._begin_run(kind, record, text, parent, provisional)
        self.tag_run(opened.run_id, {"ibml.file_hash": record.file_hash, DRIVER_TAG: driver})
        try:
            yield opened
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                opened.status = "KILLED"
            responds = not isinstance(error, TrackingError) or error.refused
            if responds:
                with suppress(TrackingError):  # report the first error
                    self._end_run(opened)
            raise
        self._end_run(opened)

    def _end_run(self, opened: OpenRun) -> None:
        with translate_errors(self.uri):
            for name, content in opened.files.items():
                self._log_file(opened.run_id, name, content)
            self.client.set_terminated(opened.run_id, opened.status)

    def _begin_run(
        self,
        kind: Kind,
        record: StudyRecord | SearchRecord,
        text: str,
        parent: str | None,
        provisional: bool,
    ) -> OpenRun:
        with translate_errors(self.uri):
            run = self._find_parent_run(kind, record.name)
            is_new = run is None
            keep_record = provisional and not is_new
            if is_new:
                tags = _build_record_tags(kind, record, parent)
                run = self.client.create_run(self.experiment_id, tags=tags, run_name=record.name)
            run_id = str(run.info.run_id)
            self.client.update_run(run_id, status="RUNNING")
            if not keep_record:
                self.client.log_text(run_id, text, f"{kind}.yaml")
                self.client.log_text(run_id, record.model_dump_json(indent=1), RECORDS[kind])
            return OpenRun(run_id, is_new)

    def add_files(self, kind: Kind, name: str, files: Mapping[str, str | bytes]) -> None:
        """Store files in the run of a study or search, replacing existing files of the same path.

        Args:
            kind: Kind of the run.
            name: Name of the study or search. Nothing is stored if it has no run.
            files: Path -> content.

        Raises:
            TrackingError: The store cannot be written.
        """
        run = self._find_parent_run(kind, name)
        if run is not None:
            with translate_errors(self.uri):
                for path, content in files.items():
                    self._log_file(run.info.run_id, path, content)

    def _log_file(self, run_id: str, name: str, content: str | bytes) -> None:
        artifacts = self._find_artifact_folder(run_id)
        if artifacts is not None:  # readers look here first, even after the store was moved
            path = artifacts / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            return
        if isinstance(content, str):
            self.client.log_text(run_id, content, name)
            return
        with open_temporary_folder() as folder:
            path = folder.path / Path(name).name
            path.write_bytes(content)
            parent = str(Path(name).parent)
            self.client.log_artifact(run_id, str(path), None if parent == "." else parent)

    def share_trial(self, run_id: str, study: str, arm: str) -> None:
        """Mark a trial as part of a further study, so MLflow's UI can filter by it.

        Args:
            run_id: Run of the trial.
            study: Name of the study.
            arm: Name of the trial's arm in the study.

        Raises:
            TrackingError: The store cannot be written.
        """
        with translate_errors(self.uri):
            self.client.set_tag(run_id, format_study_tag(study), arm)
        self.cache.share(run_id, study, arm)

    def tag_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        with translate_errors(self.uri):
            self._log_batch(run_id, tags=tags)

    def remove_tag(self, run_id: str, name: str) -> None:
        """Remove a tag of a run. A missing tag is ignored: another driver may have removed it."""
        from mlflow.exceptions import MlflowException

        with translate_errors(self.uri):
            try:
                self.client.delete_tag(run_id, name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise

    def rename_run(self, run_id: str, name: str) -> None:
        """Change the display name of a run."""
        with translate_errors(self.uri):
            self.client.update_run(run_id, name=name)

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted. It can be restored until `mlflow gc`."""
        with translate_errors(self.uri):
            self.client.delete_run(run_id)

    def create_trial(self, trial: TrialDescription, driver: str) -> str:
        """Create a run for a trial, as a child of its study's run.

        Args:
            trial: The trial.
            driver: Id of the driver that trains it.

        Returns:
            The id of the run, which has only tags until `describe_trial`.

        Raises:
            TrackingError: The store cannot be written.
        """
        tags = {
            "ibml.kind": "trial",
            **_build_source_tags(),
            **_build_start_tags(trial),
            DRIVER_TAG: driver,
        }
        with translate_errors(self.uri):
            run = self.client.create_run(self.experiment_id, tags=tags, run_name=trial.name)
            return str(run.info.run_id)

    def describe_trial(self, run_id: str, trial: TrialDescription, bare: bool = False) -> int:
        """Store parameters, tags and configuration of a trial, and mark its run as running.

        Args:
            run_id: Run of the trial.
            trial: The trial.
            bare: True if the run is as `create_trial` has left it.

        Returns:
            The number of epochs that the run already has.

        Raises:
            TrackingError: The store cannot be written.
        """
        tags = _build_start_tags(trial)
        with translate_errors(self.uri):
            if bare:
                self._log_batch(run_id, params=trial.params)
                self.client.log_text(run_id, dump(trial.config), CONFIG_FILE)
                return 0
            run = self.client.get_run(run_id)
            if run.info.status != "RUNNING":
                self.client.update_run(run_id, status="RUNNING")
            # Another study may have created the run, with its own name of the arm as a parameter.
            logged = run.data.params
            missing = {name: value for name, value in trial.params.items() if name not in logged}
            self._log_batch(run_id, params=missing, tags=tags)
            self.client.log_text(run_id, dump(trial.config), CONFIG_FILE)
            if LAST_OF_ROW not in run.data.metrics:
                return 0
            history = self.client.get_metric_history(run_id, LAST_OF_ROW)
        return 1 + max(int(metric.step) for metric in history)

    def log_rows(self, run_id: str, rows: Sequence[tuple[int, MetricRow]]) -> None:
        """Log metrics of epochs in as few calls as MLflow allows. A row is never split.

        Args:
            run_id: Run of the trial.
            rows: (time in milliseconds since 1970, metrics with their `epoch`) for each epoch.

        Raises:
            TrackingError: The store cannot be written.
        """
        calls: list[list[Point]] = [[]]
        for at, row in rows:
            epoch = int(row["epoch"])
            points = [(name, value, epoch, at) for name, value in row.items() if name != "epoch"]
            if len(calls[-1]) + len(points) > _BATCH:
                calls.append([])
            calls[-1] += points
        with translate_errors(self.uri):
            for points in filter(None, calls):
                self._log_batch(run_id, metrics=points)

    def end_trial(
        self, run_id: str, end: TrialEnded, step: int, epochs: Sequence[MetricRow] = ()
    ) -> None:
        """Store the end of a trial. The status is stored last: a run without it has no result.

        Args:
            run_id: Run of the trial.
            end: Status, final metrics, tags and traceback.
            step: Epoch of the final metrics.
            epochs: Metrics of all epochs, to be stored as a file.

        Raises:
            TrackingError: The store cannot be written.
        """
        tags = {name: value[:_TAG] for name, value in end.tags.items()}
        metrics = [(name, value, step, end.at) for name, value in end.metrics.items()]
        mlflow_status = {"failed": "FAILED", "pruned": "KILLED"}.get(end.status, "FINISHED")
        with translate_errors(self.uri):
            if end.log is not None:
                self.client.log_text(run_id, end.log, TRACEBACK_FILE)
            if epochs:
                self.client.log_text(run_id, format_epochs(epochs), EPOCHS_FILE)
            self._log_batch(run_id, metrics=metrics, tags=tags)
            self.client.set_terminated(run_id, mlflow_status)
            self._log_batch(run_id, tags={DRIVER_TAG: "", "ibml.status": end.status})

    def stop_trial(self, run_id: str) -> None:
        """Mark a trial as interrupted. Repeating the command of its study resumes it."""
        with translate_errors(self.uri):
            self.client.set_tag(run_id, DRIVER_TAG, "")
            self.client.set_terminated(run_id, "KILLED")

    def _log_batch(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] = MappingProxyType({}),
        metrics: Sequence[Point] = (),
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Log in as few calls as possible.

        MLflow stores the tags of a call last, and the same metrics with the same time once.
        """
        from mlflow.entities import Metric, Param, RunTag

        items = [Param(key, _format_param(value)) for key, value in params.items()]
        while len(items) > _PARAMS:
            self.client.log_batch(run_id, params=items[:_PARAMS])
            items = items[_PARAMS:]
        self.client.log_batch(
            run_id,
            metrics=[Metric(key, value, at, step) for key, value, step, at in metrics],
            params=items,
            tags=[RunTag(key, value) for key, value in tags.items()],
        )


def _format_param(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _get_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id need not have a name
        return f"uid {os.getuid()}"


def _build_record_tags(
    kind: Kind, record: StudyRecord | SearchRecord, parent: str | None
) -> dict[str, str]:
    """Return the tags of a new run of a study or search."""
    return {
        "ibml.kind": kind,
        f"ibml.{kind}": record.name,
        "mlflow.note.content": record.description,
        **_build_parent_tag(parent),
        **_build_source_tags(),
    }


def _build_parent_tag(parent: str | None) -> dict[str, str]:
    return {"mlflow.parentRunId": parent} if parent else {}


def _build_start_tags(trial: TrialDescription) -> dict[str, str]:
    """Return the tags of a run whose trial is being trained."""
    return {
        **trial.tags,
        **_build_parent_tag(trial.parent),
        "ibml.status": "running",
        "ibml.reason": "",
    }


def _build_source_tags() -> dict[str, str]:
    return {"mlflow.source.name": "ibml", "mlflow.source.type": "LOCAL", "mlflow.user": _get_user()}
