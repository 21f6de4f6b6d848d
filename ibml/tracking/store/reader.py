"""What is read of a store besides trials' results: studies, searches, epochs and files."""

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
_CALLS_AT_ONCE = 8

R = TypeVar("R", StudyRecord, SearchRecord)
Epochs = dict[str, list[float]]
"""Metric -> its value in every epoch from the first on, NaN where it has none."""


@dataclass(frozen=True)
class Overview:
    """A study or a search as its run shows it. `status` is MLflow's, the times are in milliseconds since 1970, and
    `ended_at` is 0 while it runs."""

    kind: Kind
    name: str
    run_id: str
    status: str
    started_at: int
    ended_at: int
    driver: str = ""
    """Who works on it, while it runs."""

    def resolve_status(self, alive: Collection[str]) -> str:
        """MLflow's status, unless the driver was killed before it could change it."""
        return "KILLED" if self.status == "RUNNING" and self.driver not in alive else self.status


_SHOWN_BY: dict[Kind, str] = {"study": "table", "search": "report"}
"""The command that shows what there is of a kind."""


class StoreReader(TrialReader):
    """Reads studies, searches and trials in one experiment."""

    def study(self, name: str) -> StudyRecord:
        """The last version of a study; raises `TrackingError` where there is none."""
        return self._read_by_name("study", name, StudyRecord)

    def read_study_if_any(self, name: str) -> StudyRecord | None:
        """The same, or nothing where there is none that can be read."""
        try:
            return self.study(name)
        except TrackingError:
            return None

    def search(self, name: str) -> SearchRecord:
        """The last record of a search; raises `TrackingError` where there is none."""
        return self._read_by_name("search", name, SearchRecord)

    def record(self, overview: Overview) -> StudyRecord | SearchRecord | None:
        """The record of a study or a search of which there is an overview already; none if it cannot be read."""
        model = StudyRecord if overview.kind == "study" else SearchRecord
        try:
            return model.model_validate_json(
                self.read_artifact(overview.run_id, RECORDS[overview.kind])
            )
        except (ValidationError, TrackingError):
            return None

    def _read_by_name(self, kind: Kind, name: str, model: type[R]) -> R:
        run = self._find_parent_run(kind, name) or self._find_parent_run(
            kind, self._find_stored_name(kind, name)
        )
        if run is None:
            self._refuse_other_kind(name, kind)
            raise TrackingError(self.describe_missing(kind, name))
        try:
            return model.model_validate_json(self.read_artifact(run.info.run_id, RECORDS[kind]))
        except ValidationError:
            message = f"{kind} {name!r} was recorded by another version of ibml; its own command records it anew"
            raise TrackingError(message) from None

    def find_trial(self, text: str) -> TrialRecord:
        try:
            return super().find_trial(text)
        except TrackingError:
            self._refuse_other_kind(text.partition("/")[0], "trial")
            raise

    def _refuse_other_kind(self, name: str, wanted: str) -> None:
        """Raise `TrackingError` for the name of a study or search where something else is named."""
        for kind, command in _SHOWN_BY.items():
            if kind != wanted and name in self.names(kind):
                shown = shlex.quote(name)
                raise TrackingError(
                    f"{name!r} is a {kind}, not a {wanted}; show it with: ibml {command} {shown}"
                )

    def _find_stored_name(self, kind: Kind, name: str) -> str:
        """Return a name as the store has it: a terminal may encode it in another way."""
        wanted = normalize_name(name)
        return next(
            (known for known in self.names(kind) if normalize_name(known) == wanted), wanted
        )

    def describe_missing(self, kind: Kind, name: str) -> str:
        """Say that there is no study or search of a name, and what to do."""
        missing = f"no {kind} is called {name!r} in {redact_url(self.uri)}"
        if self.is_deleted(kind, name):
            return f"{missing}: its run was deleted; restore it in MLflow, or repeat its command, which keeps results"
        known = self.names(kind)
        return (
            f"{missing}; it has {', '.join(known)}" if known else f"{missing}; it has no {kind} yet"
        )

    def is_deleted(self, kind: Kind, name: str) -> bool:
        """Whether MLflow has a deleted run of a study or search of this name."""
        deleted = self.search_runs(f"tags.`ibml.kind` = '{kind}'", deleted=True)
        return any(run.data.tags.get(f"ibml.{kind}") == normalize_name(name) for run in deleted)

    def names(self, kind: Kind) -> list[str]:
        """The studies or searches that there are."""
        return sorted(
            {
                run.data.tags[f"ibml.{kind}"]
                for run in self.search_runs(f"tags.`ibml.kind` = '{kind}'")
            }
        )

    def overview(self, deleted: bool = False) -> list[Overview]:
        """Every study and search, the first begun first; those whose run was deleted, where it is said."""
        found = [
            Overview(
                kind=kind,
                name=run.data.tags[f"ibml.{kind}"],
                run_id=run.info.run_id,
                status=run.info.status,
                started_at=run.info.start_time or 0,
                ended_at=0 if run.info.status == "RUNNING" else run.info.end_time or 0,
                driver=run.data.tags.get(DRIVER_TAG, ""),
            )
            for kind in RECORDS
            for run in self.search_runs(f"tags.`ibml.kind` = '{kind}'", deleted)
        ]
        return sorted(found, key=lambda overview: overview.started_at)

    def _find_parent_run(self, kind: Kind, name: str) -> Any:
        if "'" in name:  # a filter cannot quote it
            runs = self.search_runs(f"tags.`ibml.kind` = '{kind}'")
            return next((run for run in runs if run.data.tags[f"ibml.{kind}"] == name), None)
        return next(
            self.search_runs(f"tags.`ibml.kind` = '{kind}' and tags.`ibml.{kind}` = '{name}'"), None
        )

    def has_trials(self, search: str) -> bool:
        """Whether there are trials of a search."""
        if "'" in search:  # a filter cannot quote it
            return any(
                run.data.tags.get("ibml.search") == search
                for run in self.search_runs("tags.`ibml.kind` = 'trial'")
            )
        return (
            next(
                self.search_runs(f"tags.`ibml.search` = '{search}' and tags.`ibml.kind` = 'trial'"),
                None,
            )
            is not None
        )

    def read_trial_config(self, run_id: str) -> str:
        """A trial's configuration as YAML."""
        return self.read_artifact(run_id, CONFIG_FILE)

    def read_traceback(self, run_id: str) -> str | None:
        """The traceback of a trial that failed, if it left one."""
        return self.read_artifact_if_any(run_id, TRACEBACK_FILE)

    def read_history(self, run_id: str, metrics: Collection[str]) -> list[dict[str, float]]:
        """The epochs that a run has logged without a gap from the first on, each with `epoch` and these metrics."""
        rows: dict[int, dict[str, float]] = {}
        with translate_errors(self.uri):
            for name in metrics:
                for point in self.client.get_metric_history(run_id, name):
                    rows.setdefault(point.step, {"epoch": float(point.step)})[name] = point.value
        whole = itertools.takewhile(
            lambda epoch: len(rows.get(epoch, {})) == len(metrics) + 1, itertools.count()
        )
        return [rows[epoch] for epoch in whole]

    def epochs(self, run_id: str, metrics: Collection[str] | None = None) -> Epochs:
        """The epochs of a trial, of all metrics or of these, as far as it has them: from the file that its last end
        left, else from MLflow's own history. A trial that goes on after a failure has a new file when it ends again."""
        text = self.read_artifact_if_any(run_id, EPOCHS_FILE)
        return (
            self.read_logged_epochs(run_id, metrics)
            if text is None
            else parse_epochs(text, metrics)
        )

    def read_curves(self, run_ids: Sequence[str], metrics: Collection[str]) -> dict[str, Epochs]:
        """Run id -> the epochs of these metrics."""
        if get_database_file(self.uri):
            return {run_id: self.epochs(run_id, metrics) for run_id in run_ids}
        with ThreadPoolExecutor(_CALLS_AT_ONCE) as pool:
            return dict(
                zip(
                    run_ids,
                    pool.map(lambda run_id: self.epochs(run_id, metrics), run_ids),
                    strict=True,
                )
            )

    def read_logged_epochs(self, run_id: str, metrics: Collection[str] | None = None) -> Epochs:
        """From MLflow's history: the metrics that there are from the first epoch on, not those of the end alone."""
        found: Epochs = {}
        with translate_errors(self.uri):
            names = self.client.get_run(run_id).data.metrics if metrics is None else metrics
            for name in sorted(names):
                points = {
                    point.step: point.value
                    for point in self.client.get_metric_history(run_id, name)
                }
                if 0 in points:
                    found[name] = [points.get(step, math.nan) for step in range(max(points) + 1)]
        return found
