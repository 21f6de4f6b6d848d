"""What a store has: studies and searches with their state, progress and age."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ibml.records import SearchRecord, StudyRecord, TrialRecord
from ibml.report.tables.results import Results
from ibml.report.tables.table_spec import MISSING, Column, Entry, TableSpec

DELETED = "DELETED"
"""The status of a study or a search whose run was deleted while its trials are there."""
_STATES = {
    "RUNNING": "running",
    "KILLED": "interrupted",
    "FAILED": "incomplete",
    "FINISHED": "complete",
    DELETED: "deleted",
}
_UNREADABLE_NOTE = "(its record cannot be read; its own command records it anew)"
_DELETED_NOTE = "(its run was deleted in MLflow; restore it there, or repeat its command, which keeps the results)"

OverviewItem = tuple[str, str, str, int, int, StudyRecord | SearchRecord | None]
"""Study or search, name, MLflow's status, begin and end in milliseconds (0 without an end), and the record, if it can
be read."""


def build_overview_table(
    seen: Sequence[OverviewItem], results: Mapping[str, TrialRecord], now: float | None = None
) -> TableSpec:
    """A row for each, the last begun first. `now` is in seconds since 1970."""
    moment = time.time() if now is None else now
    rows = []
    for kind, name, status, started, ended, record in sorted(seen, key=lambda one: -one[3]):
        last = (ended or started) / 1000
        progress, question = (
            (_format_progress(record, results), record.description)
            if record
            else (MISSING, _UNREADABLE_NOTE)
        )
        if status == DELETED:
            question = _DELETED_NOTE
        texts = (
            name,
            kind,
            _describe_state(status, record, results),
            progress,
            format_duration(moment - last),
            question,
        )
        rows.append(tuple(map(Entry, texts)))
    columns = [
        Column("name", "name"),
        Column("kind", "words"),
        Column("state", "words"),
        Column("trials"),
    ]
    return TableSpec("", (*columns, Column("age"), Column("question", "words")), tuple(rows))


def _describe_state(
    status: str, record: StudyRecord | SearchRecord | None, results: Mapping[str, TrialRecord]
) -> str:
    """Return how a study or search is now. Results may be lost, or come from other studies, after a study has ended."""
    if isinstance(record, StudyRecord) and status in ("FAILED", "FINISHED"):
        status = "FAILED" if Results(record, results).unfinished else "FINISHED"
    return _STATES.get(status, status.lower())


def _format_progress(record: StudyRecord | SearchRecord, results: Mapping[str, TrialRecord]) -> str:
    if isinstance(record, SearchRecord):
        return (
            f"{sum(proposal.state != 'running' for proposal in record.proposals)} / {record.trials}"
        )
    study = Results(record, results)
    return f"{len(study.trials) - study.unfinished} / {len(study.trials)}"


def format_duration(seconds: float) -> str:
    """A duration in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
