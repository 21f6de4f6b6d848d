"""Read access to the studies, searches, metrics and files of a store."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from ibml.common.redaction import redact_url
from ibml.config.names import normalize_name
from ibml.records import SearchRecord, StudyRecord, TrialRecord
from ibml.tracking.store.epochs_csv import EPOCHS_FILE, parse_epochs
from ibml.tracking.store.trial_reader import DRIVER_TAG, TrialReader
from ibml.tracking.store.uri import TrackingError, get_database_file, translate_errors

Kind = Literal["study", "search"]
RECORDS: dict[Kind, str] = {"study": "study.json", "search": "search.json"}
CONFIG_FILE = "config.yaml"
TRACEBACK_FILE = "traceback.txt"
_CONCURRENT_CALLS = 8

R = TypeVar("R", StudyRecord, SearchRecord)
Epochs = dict[str, list[float]]
"""Metric -> its value per epoch from the first epoch on, NaN where an epoch does not have it."""


@dataclass(frozen=True)
class Overview:
    """Summary of a study or a search, from its run.

    Attributes:
        kind: Study or search.
        name: Its name.
        run_id: Id of its run.
        status: MLflow's status of the run.
        started_at: Start in milliseconds since 1970.
        ended_at: End in milliseconds since 1970, or 0 while it runs.
        driver: Id of the driver that works on it, or that did last.
    """

    kind: Kind
    name: str
    run_id: str
    status: str
    started_at: int
    ended_at: int
    driver: str = ""

    def resolve_status(self, alive: Collection[str]) -> str:
        """Return MLflow's status, or `KILLED` if the driver died without updating it.

        Args:
            alive: Ids of the drivers that are at work.

        Returns:
            A status of MLflow: `RUNNING`, `FINISHED`, `FAILED` or `KILLED`.
        """
        is_orphaned = self.status == "RUNNING" and self.driver not in alive
        return "KILLED" if is_orphaned else self.status


_SHOWN_BY: dict[Kind, str] = {"study": "table", "search": "report"}
"""Command that shows the results of each kind."""


class StoreReader(TrialReader):
    """Reads the studies, searches and trials of one experiment.

    All methods raise `TrackingError` if the store cannot be read.
    """

    def study(self, name: str) -> StudyRecord:
        """Return the record of a study, found by name.

        Args:
            name: Name of the study, in any Unicode normalization.

        Returns:
            The record of the last run of the study.

        Raises:
            TrackingError: The study is missing, or its record cannot be read. The message says what
                to do.
        """
        return self._read_by_name("study", name, StudyRecord)

    def read_study_if_any(self, name: str) -> StudyRecord | None:
        """Return the record of a study, or None if it is missing or cannot be read."""
        try:
            return self.study(name)
        except TrackingError:
            return None

    def search(self, name: str) -> SearchRecord:
        """Return the record of a search, found by name.

        Args:
            name: Name of the search, in any Unicode normalization.

        Returns:
            The record of the last run of the search.

        Raises:
            TrackingError: The search is missing, or its record cannot be read. The message says
                what to do.
        """
        return self._read_by_name("search", name, SearchRecord)

    def record(self, overview: Overview) -> StudyRecord | SearchRecord | None:
        """Return the record of a study or search, or None if it cannot be read."""
        model = StudyRecord if overview.kind == "study" else SearchRecord
        try:
            text = self.read_artifact(overview.run_id, RECORDS[overview.kind])
            return model.model_validate_json(text)
        except (ValidationError, TrackingError):
            return None

    def _read_by_name(self, kind: Kind, name: str, model: type[R]) -> R:
        run = self._find_parent_run(kind, name)
        if run is None:
            run = self._find_parent_run(kind, self._find_stored_name(kind, name))
        if run is None:
            self._refuse_other_kind(name, kind)
            raise TrackingError(self.describe_missing(kind, name))
        try:
            return model.model_validate_json(self.read_artifact(run.info.run_id, RECORDS[kind]))
        except ValidationError:
            raise TrackingError(
                f"{kind} {name!r} was recorded by another version of ibml;"
                " repeat its command to record it again"
            ) from None

    def find_trial(self, text: str) -> TrialRecord:
        """Return the trial with a run id or key, as `TrialReader.find_trial` does.

        Args:
            text: A run id or key, or its beginning.

        Returns:
            The record of the trial.

        Raises:
            TrackingError: No trial or several trials match. For the name of a study or search, the
                message names the command that shows it.
        """
        try:
            return super().find_trial(text)
        except TrackingError:
            self._refuse_other_kind(text.partition("/")[0], "trial")
            raise

    def _refuse_other_kind(self, name: str, wanted: str) -> None:
        """Raise an error if the name belongs to a study or search, and another kind is wanted."""
        for kind, command in _SHOWN_BY.items():
            if kind != wanted and name in self.names(kind):
                shown = shlex.quote(name)
                raise TrackingError(
                    f"{name!r} is a {kind}, not a {wanted}; show it with: ibml {command} {shown}"
                )

    def _find_stored_name(self, kind: Kind, name: str) -> str:
        """Return a name as the store has it: terminals may use another Unicode normalization."""
        wanted = normalize_name(name)
        for known in self.names(kind):
            if normalize_name(known) == wanted:
                return known
        return wanted

    def describe_missing(self, kind: Kind, name: str) -> str:
        """Return a message that a study or search is missing, and what to do."""
        missing = f"no {kind} is called {name!r} in {redact_url(self.uri)}"
        if self.is_deleted(kind, name):
            return (
                f"{missing}: its run was deleted; restore it in MLflow,"
                " or repeat its command, which keeps results"
            )
        known = self.names(kind)
        if not known:
            return f"{missing}; it has no {kind} yet"
        return f"{missing}; it has {', '.join(known)}"

    def is_deleted(self, kind: Kind, name: str) -> bool:
        """Return whether MLflow has a deleted run of a study or search."""
        wanted = normalize_name(name)
        deleted = self.search_runs(f"tags.`ibml.kind` = '{kind}'", deleted=True)
        return any(run.data.tags.get(f"ibml.{kind}") == wanted for run in deleted)

    def names(self, kind: Kind) -> list[str]:
        """Return the names of all studies or all searches, sorted."""
        runs = self.search_runs(f"tags.`ibml.kind` = '{kind}'")
        return sorted({run.data.tags[f"ibml.{kind}"] for run in runs})

    def overview(self, deleted: bool = False) -> list[Overview]:
        """Return summaries of all studies and searches, oldest first, or only of deleted ones."""
        found = []
        for kind in RECORDS:
            for run in self.search_runs(f"tags.`ibml.kind` = '{kind}'", deleted):
                is_running = run.info.status == "RUNNING"
                overview = Overview(
                    kind=kind,
                    name=run.data.tags[f"ibml.{kind}"],
                    run_id=run.info.run_id,
                    status=run.info.status,
                    started_at=run.info.start_time or 0,
                    ended_at=0 if is_running else run.info.end_time or 0,
                    driver=run.data.tags.get(DRIVER_TAG, ""),
                )
                found.append(overview)
        return sorted(found, key=lambda overview: overview.started_at)

    def _find_parent_run(self, kind: Kind, name: str) -> Any:
        if "'" in name:  # MLflow's filters cannot quote an apostrophe
            runs = self.search_runs(f"tags.`ibml.kind` = '{kind}'")
            return next((run for run in runs if run.data.tags[f"ibml.{kind}"] == name), None)
        runs = self.search_runs(f"tags.`ibml.kind` = '{kind}' and tags.`ibml.{kind}` = '{name}'")
        return next(runs, None)

    def has_trials(self, search: str) -> bool:
        """Return whether a search has trials."""
        if "'" in search:  # MLflow's filters cannot quote an apostrophe
            runs = self.search_runs("tags.`ibml.kind` = 'trial'")
            return any(run.data.tags.get("ibml.search") == search for run in runs)
        runs = self.search_runs(f"tags.`ibml.search` = '{search}' and tags.`ibml.kind` = 'trial'")
        return next(runs, None) is not None

    def read_trial_config(self, run_id: str) -> str:
        """Return a trial's configuration as YAML."""
        return self.read_artifact(run_id, CONFIG_FILE)

    def read_traceback(self, run_id: str) -> str | None:
        """Return the traceback of a failed trial, or None if it has none."""
        return self.read_artifact_if_any(run_id, TRACEBACK_FILE)

    def read_history(self, run_id: str, metrics: Collection[str]) -> list[dict[str, float]]:
        """Return the epochs that a run has logged completely, up to the first gap.

        Args:
            run_id: Run of the trial.
            metrics: Metrics that each epoch must have.

        Returns:
            One row per epoch, from the first on, with `epoch` and the metrics.
        """
        rows: dict[int, dict[str, float]] = {}
        with translate_errors(self.uri):
            for name in metrics:
                for point in self.client.get_metric_history(run_id, name):
                    rows.setdefault(point.step, {"epoch": float(point.step)})[name] = point.value
        complete = []
        for epoch in itertools.count():
            row = rows.get(epoch, {})
            if len(row) != len(metrics) + 1:
                break
            complete.append(row)
        return complete

    def epochs(self, run_id: str, metrics: Collection[str] | None = None) -> Epochs:
        """Return the metrics of a trial per epoch.

        They come from the file that the trial has stored at its last end. If it has not ended, they
        come from MLflow's history of metrics.

        Args:
            run_id: Run of the trial.
            metrics: Metrics to return, as far as the trial has them; None for all.

        Returns:
            Metric -> its value per epoch.
        """
        text = self.read_artifact_if_any(run_id, EPOCHS_FILE)
        if text is None:
            return self.read_logged_epochs(run_id, metrics)
        return parse_epochs(text, metrics)

    def read_curves(self, run_ids: Sequence[str], metrics: Collection[str]) -> dict[str, Epochs]:
        """Return metrics per epoch of several trials.

        Args:
            run_ids: Runs of the trials.
            metrics: Metrics to return, as far as each trial has them.

        Returns:
            Run id -> metrics per epoch.
        """
        if get_database_file(self.uri):
            return {run_id: self.epochs(run_id, metrics) for run_id in run_ids}
        with ThreadPoolExecutor(_CONCURRENT_CALLS) as pool:
            curves = pool.map(lambda run_id: self.epochs(run_id, metrics), run_ids)
            return dict(zip(run_ids, curves, strict=True))

    def read_logged_epochs(self, run_id: str, metrics: Collection[str] | None = None) -> Epochs:
        """Return the metrics of a trial per epoch from MLflow's history.

        Args:
            run_id: Run of the trial.
            metrics: Metrics to return; None for all.

        Returns:
            Metrics per epoch. Metrics without a value in the first epoch, which are logged only at
            the end of a trial, are left out.
        """
        found: Epochs = {}
        with translate_errors(self.uri):
            names = self.client.get_run(run_id).data.metrics if metrics is None else metrics
            for name in sorted(names):
                history = self.client.get_metric_history(run_id, name)
                values = {point.step: point.value for point in history}
                if 0 in values:
                    found[name] = [values.get(step, math.nan) for step in range(max(values) + 1)]
        return found
