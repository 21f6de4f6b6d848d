"""What a store has: studies and searches with their state, progress and age."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ibml.config.records import SearchRecord, StudyRecord, TrialRecord
from ibml.report.grid import Column, Entry, Grid
from ibml.report.results import Results

_STATES = {"RUNNING": "running", "KILLED": "interrupted", "FAILED": "incomplete", "FINISHED": "complete"}

Seen = tuple[str, str, int, int, StudyRecord | SearchRecord]
"""Name, MLflow's status, begin and end in milliseconds (0 without an end), and the record."""


def listing(seen: Sequence[Seen], results: Mapping[str, TrialRecord], now: float | None = None) -> Grid:
    """A row for each, the last begun first. `now` is in seconds since 1970."""
    moment = time.time() if now is None else now
    rows = []
    for name, status, started, ended, record in sorted(seen, key=lambda one: -one[2]):
        done, total = _progress(record, results)
        last = (ended or started) / 1000
        kind = "study" if isinstance(record, StudyRecord) else "search"
        texts = (name, kind, _STATES.get(status, status.lower()), f"{done} / {total}", age(moment - last))
        rows.append((*map(Entry, texts), Entry(record.description)))
    columns = [Column("name", "name"), Column("kind", "words"), Column("state", "words"), Column("trials")]
    return Grid("", (*columns, Column("age"), Column("question", "words")), tuple(rows))


def _progress(record: StudyRecord | SearchRecord, results: Mapping[str, TrialRecord]) -> tuple[int, int]:
    if isinstance(record, SearchRecord):
        return sum(proposal.state != "running" for proposal in record.proposals), record.trials
    study = Results(record, results)
    return len(study.trials) - study.unfinished, len(study.trials)


def age(seconds: float) -> str:
    """A duration in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
