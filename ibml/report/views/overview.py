"""Overview of a store: its studies and searches with state, progress and age."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ibml.records import SearchRecord, StudyRecord, TrialRecord
from ibml.report.tables.results import Results
from ibml.report.tables.table_spec import MISSING, Column, Entry, TableSpec

DELETED = "DELETED"
"""Status of a study or search whose run was deleted, but not its trials."""
_STATES = {
    "RUNNING": "running",
    "KILLED": "interrupted",
    "FAILED": "incomplete",
    "FINISHED": "complete",
    DELETED: "deleted",
}
_UNREADABLE_NOTE = "(its record cannot be read; repeat its command to write the record again)"
_DELETED_NOTE = (
    "(its run was deleted in MLflow; restore the run, or repeat its command, which keeps the"
    " results)"
)

OverviewItem = tuple[str, str, str, int, int, StudyRecord | SearchRecord | None]
"""Kind (study or search), name, MLflow status, start and end in milliseconds (0 without an end),
and the record, or None if it cannot be read."""


def build_overview_table(
    items: Sequence[OverviewItem], results: Mapping[str, TrialRecord], now: float | None = None
) -> TableSpec:
    """Return a table of studies and searches.

    Args:
        items: Studies and searches.
        results: Trial key -> stored result.
        now: Current time in seconds since 1970; None for the clock's.

    Returns:
        One row per item, the latest start first.
    """
    current = time.time() if now is None else now
    rows = []
    for kind, name, status, started, ended, record in sorted(items, key=lambda item: -item[3]):
        last_change = (ended or started) / 1000
        progress, question = MISSING, _UNREADABLE_NOTE
        if record:
            progress, question = _format_progress(record, results), record.description
        if status == DELETED:
            question = _DELETED_NOTE
        state = _describe_state(status, record, results)
        texts = (name, kind, state, progress, format_duration(current - last_change), question)
        rows.append(tuple(map(Entry, texts)))
    columns = (
        Column("name", "name"),
        Column("kind", "words"),
        Column("state", "words"),
        Column("trials"),
        Column("age"),
        Column("question", "words"),
    )
    return TableSpec("", columns, tuple(rows))


def _describe_state(
    status: str, record: StudyRecord | SearchRecord | None, results: Mapping[str, TrialRecord]
) -> str:
    """Return the current state of a study or search.

    After a study has ended, its results may be deleted, or another study may complete them.
    """
    if isinstance(record, StudyRecord) and status in ("FAILED", "FINISHED"):
        status = "FAILED" if Results(record, results).unfinished else "FINISHED"
    return _STATES.get(status, status.lower())


def _format_progress(record: StudyRecord | SearchRecord, results: Mapping[str, TrialRecord]) -> str:
    if isinstance(record, SearchRecord):
        ended = [proposal for proposal in record.proposals if proposal.state != "running"]
        return f"{len(ended)} / {record.trials}"
    study = Results(record, results)
    return f"{len(study.trials) - study.unfinished} / {len(study.trials)}"


def format_duration(seconds: float) -> str:
    """Return a duration in its largest unit, for example `3 h`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
