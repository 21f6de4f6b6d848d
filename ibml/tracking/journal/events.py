"""Events of a trial, as lines of a journal. Times are in milliseconds since 1970."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ibml.records import MetricRow, Status


def get_time_ms() -> int:
    return int(time.time() * 1000)


@dataclass(frozen=True)
class TrialDescription:
    """What a trial's run shows before it has results: name, parameters, tags, and the configuration as a file. `parent`
    is the run of its study, if it has one."""

    key: str
    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    config: Mapping[str, Any]
    parent: str | None = None


@dataclass(frozen=True)
class TrialStarted:
    """The training of a trial has started; `run_id` is its run if that could be claimed."""

    trial: TrialDescription
    run_id: str


@dataclass(frozen=True)
class MetricsLogged:
    """Metrics of epochs; each row has its `epoch`."""

    rows: Sequence[MetricRow]
    at: int = field(default_factory=get_time_ms)


@dataclass(frozen=True)
class TagsUpdated:
    """Tags that have changed since the start."""

    tags: Mapping[str, str]


@dataclass(frozen=True)
class TrialEnded:
    """A trial has ended: final metrics, tags, and the traceback of a failure."""

    status: Status
    metrics: MetricRow
    tags: Mapping[str, str]
    log: str | None = None
    at: int = field(default_factory=get_time_ms)


@dataclass(frozen=True)
class TrialInterrupted:
    """A trial was interrupted; the same command resumes it."""


@dataclass(frozen=True)
class ResultShared:
    """A result belongs to another study too, as one of its arms."""

    run_id: str
    study: str
    arm: str


@dataclass(frozen=True)
class TrialPruned:
    """An unfinished run has all the epochs that a search needs."""

    run_id: str
    reason: str


Event = (
    TrialStarted
    | MetricsLogged
    | TagsUpdated
    | TrialEnded
    | TrialInterrupted
    | ResultShared
    | TrialPruned
)
_WIRE_NAMES: dict[type[Event], str] = {
    TrialStarted: "Begin",
    MetricsLogged: "Rows",
    TagsUpdated: "Tagged",
    TrialEnded: "End",
    TrialInterrupted: "Stop",
    ResultShared: "Share",
    TrialPruned: "Prune",
}
"""Names of events in journals. Journals outlive the version that wrote them: these names never change."""
_EVENTS = {name: event for event, name in _WIRE_NAMES.items()}


def encode_event(event: Event) -> str:
    """Return an event as a line of JSON without its end; NaN and infinity are written as Python writes them."""
    return json.dumps({"entry": _WIRE_NAMES[type(event)], **vars(event)}, default=vars)


def decode_event(line: str) -> Event:
    """Return the event of a line.

    Raises:
        ValueError: If the line is cut off, or from another version.
    """
    try:
        content = json.loads(line)
        kind = _EVENTS[content.pop("entry")]
        if kind is TrialStarted:
            content["trial"] = TrialDescription(**content["trial"])
        event: Event = kind(**content)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no entry of a journal: {error}") from error
    return event
