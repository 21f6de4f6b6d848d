"""Studies and trials in MLflow: one parent run per study, one child run per trial.

A trial's run carries its key, so a result is found again by any study that contains the trial. Only the
driver writes; workers never import mlflow.
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
"""The metric that stands for a whole epoch having been logged."""
_BATCH = 900
"""Metrics in one call: of the 1000 things that MLflow allows, what leaves room for tags."""
Point = tuple[str, float, int, int]
"""A metric's name, value, step, and time."""
_PARAMS = 100
"""MLflow's limit of parameters in one call."""
_TAG = 500
"""The length to which a tag is cut."""


@dataclass
class OpenRun:
    """The run of a study or a search while it is written: what it ends with, and the files that are stored then."""

    run_id: str
    is_new: bool
    """Whether it was made now."""
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FAILED"
    files: dict[str, str | bytes] = field(default_factory=dict)


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
        driver: str = "",
    ) -> Iterator[OpenRun]:
        """The run of a study or a search, marked as running until the end of the context, and then as its `status`
        says. It is made where there is none yet, below the `parent` run if it has one. `text` is the file. A record
        that is `provisional` does not take the place of one that is there. `driver` is who works on it."""
        opened = self._begin_run(kind, record, text, parent, provisional)
        self.tag_run(opened.run_id, {"ibml.file_hash": record.file_hash, DRIVER_TAG: driver})
        try:
            yield opened
        except BaseException as error:
            opened.status = "KILLED" if isinstance(error, KeyboardInterrupt) else opened.status
            if (
                not isinstance(error, TrackingError) or error.refused
            ):  # else the store does not answer
                with suppress(TrackingError):  # what went wrong first is what counts
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
        tags = {
            "ibml.kind": kind,
            f"ibml.{kind}": record.name,
            "mlflow.note.content": record.description,
        }
        with translate_errors(self.uri):
            run = self._find_parent_run(kind, record.name)
            is_new = run is None
            keep = provisional and not is_new
            if is_new:
                tags = {**tags, **_build_parent_tag(parent), **_build_source_tags()}
                run = self.client.create_run(self.experiment_id, tags=tags, run_name=record.name)
            run_id = str(run.info.run_id)
            self.client.update_run(run_id, status="RUNNING")
            if not keep:
                self.client.log_text(run_id, text, f"{kind}.yaml")
                self.client.log_text(run_id, record.model_dump_json(indent=1), RECORDS[kind])
            return OpenRun(run_id, is_new)

    def add_files(self, kind: Kind, name: str, files: Mapping[str, str | bytes]) -> None:
        """Put files into the run of a study or search, if there is one, in place of earlier ones.

        Raises:
            TrackingError: The files of the run cannot be written.
        """
        run = self._find_parent_run(kind, name)
        if run is not None:
            with translate_errors(self.uri):
                for path, content in files.items():
                    self._log_file(run.info.run_id, path, content)

    def _log_file(self, run_id: str, name: str, content: str | bytes) -> None:
        beside = self._find_artifact_folder(run_id)
        if beside is not None:  # where files are read from, also after the store was moved
            path = beside / name
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
        """Mark another study's trial as part of this one too, so that the UI can filter by it."""
        with translate_errors(self.uri):
            self.client.set_tag(run_id, format_study_tag(study), arm)
        self.cache.share(run_id, study, arm)

    def tag_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Say more about a run."""
        with translate_errors(self.uri):
            self._log_batch(run_id, tags=tags)

    def remove_tag(self, run_id: str, name: str) -> None:
        """Remove a tag; another driver, or a call whose answer was lost, may have removed it already."""
        from mlflow.exceptions import MlflowException

        with translate_errors(self.uri):
            try:
                self.client.delete_tag(run_id, name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise

    def rename_run(self, run_id: str, name: str) -> None:
        """Change the name that MLflow shows of a run."""
        with translate_errors(self.uri):
            self.client.update_run(run_id, name=name)

    def delete_run(self, run_id: str) -> None:
        """Delete a run as MLflow does: it can be restored until `mlflow gc`."""
        with translate_errors(self.uri):
            self.client.delete_run(run_id)

    def create_trial(self, trial: TrialDescription, driver: str) -> str:
        """The id of a new run for a trial, which the driver trains, below its study's run if it has one."""
        tags = {
            "ibml.kind": "trial",
            **_build_source_tags(),
            **_build_start_tags(trial),
            DRIVER_TAG: driver,
        }
        with translate_errors(self.uri):
            return str(
                self.client.create_run(
                    self.experiment_id, tags=tags, run_name=trial.name
                ).info.run_id
            )

    def describe_trial(self, run_id: str, trial: TrialDescription, bare: bool = False) -> int:
        """Let a run show what is trained, and that it is; the number of epochs that it has already. A `bare` one is as
        `create_trial` has left it."""
        tags = _build_start_tags(trial)
        with translate_errors(self.uri):
            if bare:
                self._log_batch(run_id, params=trial.params)
                self.client.log_text(run_id, dump(trial.config), CONFIG_FILE)
                return 0
            run = self.client.get_run(run_id)
            if run.info.status != "RUNNING":
                self.client.update_run(run_id, status="RUNNING")
            there = (
                run.data.params
            )  # another study may have begun it, under its own name of the arm
            self._log_batch(
                run_id,
                params={key: v for key, v in trial.params.items() if key not in there},
                tags=tags,
            )
            self.client.log_text(run_id, dump(trial.config), CONFIG_FILE)
            if LAST_OF_ROW not in run.data.metrics:
                return 0
            history = self.client.get_metric_history(run_id, LAST_OF_ROW)
        return 1 + max(int(metric.step) for metric in history)

    def log_rows(self, run_id: str, rows: Sequence[tuple[int, MetricRow]]) -> None:
        """Epochs' metrics with their times, each row with its `epoch` as step, in as few calls as MLflow allows; a row
        is never cut."""
        calls: list[list[Point]] = [[]]
        for at, row in rows:
            points = [
                (key, value, int(row["epoch"]), at) for key, value in row.items() if key != "epoch"
            ]
            if len(calls[-1]) + len(points) > _BATCH:
                calls.append([])
            calls[-1] += points
        with translate_errors(self.uri):
            for points in filter(None, calls):
                self._log_batch(run_id, metrics=points)

    def end_trial(
        self, run_id: str, end: TrialEnded, step: int, epochs: Sequence[MetricRow] = ()
    ) -> None:
        """Store how a trial ended, its final metrics as of the epoch `step`, and all its epochs as a file if they are
        given. The status comes last: a run without it is not a result."""
        tags = {key: value[:_TAG] for key, value in end.tags.items()}
        with translate_errors(self.uri):
            if end.log is not None:
                self.client.log_text(run_id, end.log, TRACEBACK_FILE)
            if epochs:
                self.client.log_text(run_id, format_epochs(epochs), EPOCHS_FILE)
            self._log_batch(
                run_id,
                metrics=[(key, value, step, end.at) for key, value in end.metrics.items()],
                tags=tags,
            )
            self.client.set_terminated(
                run_id, {"failed": "FAILED", "pruned": "KILLED"}.get(end.status, "FINISHED")
            )
            self._log_batch(run_id, tags={DRIVER_TAG: "", "ibml.status": end.status})

    def stop_trial(self, run_id: str) -> None:
        """Mark a trial that was interrupted; the same study goes on with it."""
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
        """In the fewest calls; MLflow stores the tags last. The same metrics with the same time are stored once."""
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


def _build_parent_tag(parent: str | None) -> dict[str, str]:
    return {"mlflow.parentRunId": parent} if parent else {}


def _build_start_tags(trial: TrialDescription) -> dict[str, str]:
    """The tags of a run whose trial is being trained."""
    return {
        **trial.tags,
        **_build_parent_tag(trial.parent),
        "ibml.status": "running",
        "ibml.reason": "",
    }


def _build_source_tags() -> dict[str, str]:
    return {"mlflow.source.name": "ibml", "mlflow.source.type": "LOCAL", "mlflow.user": _get_user()}
