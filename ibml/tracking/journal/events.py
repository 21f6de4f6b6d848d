"""Events of a trial and their form as lines of a journal. Times are in milliseconds since 1970."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ibml.records import MetricRow, Status


def get_time_ms() -> int:
    """Return the current time in milliseconds since 1970, as MLflow stores times."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class TrialDescription:
    """Content of a trial's run before it has results.

    Attributes:
        key: Key of the trial, a hash of everything that determines its result.
        name: Name of the run.
        params: MLflow parameters.
        tags: MLflow tags.
        config: Configuration, stored as a YAML file of the run.
        parent: Run id of the trial's study or search, if it has one.
    """

    key: str
    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    config: Mapping[str, Any]
    parent: str | None = None


@dataclass(frozen=True)
class TrialStarted:
    """Training of a trial has started.

    Attributes:
        trial: The trial.
        run_id: Its run; empty if none could be leased because the store did not respond.
    """

    trial: TrialDescription
    run_id: str


@dataclass(frozen=True)
class MetricsLogged:
    """Metrics of some epochs.

    Attributes:
        rows: One row per epoch, which contains its number as `epoch`.
        at: Time of logging.
    """

    rows: Sequence[MetricRow]
    at: int = field(default_factory=get_time_ms)


@dataclass(frozen=True)
class TagsUpdated:
    """Tags of a trial's run have changed since its start.

    Attributes:
        tags: The changed tags.
    """

    tags: Mapping[str, str]


@dataclass(frozen=True)
class TrialEnded:
    """A trial has ended.

    Attributes:
        status: How it ended.
        metrics: Final metrics.
        tags: Tags to add to its run.
        log: Traceback of a failure.
        at: Time of the end.
    """

    status: Status
    metrics: MetricRow
    tags: Mapping[str, str]
    log: str | None = None
    at: int = field(default_factory=get_time_ms)


@dataclass(frozen=True)
class TrialInterrupted:
    """A trial was interrupted; repeating the command resumes it."""


@dataclass(frozen=True)
class ResultShared:
    """A result belongs to another study too.

    Attributes:
        run_id: Run with the result.
        study: Name of the other study.
        arm: Name of the trial's arm in that study.
    """

    run_id: str
    study: str
    arm: str


@dataclass(frozen=True)
class TrialPruned:
    """An unfinished run already has all the epochs that a search needs.

    Attributes:
        run_id: The run.
        reason: Explanation, stored as a tag.
    """

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
"""Names of events in journals. They never change, since journals outlive the version of ibml."""
_EVENTS = {name: event for event, name in _WIRE_NAMES.items()}


def encode_event(event: Event) -> str:
    """Return an event as one line of JSON, without a line break.

    NaN and infinity are written as Python's `json` module writes them.
    """
    return json.dumps({"entry": _WIRE_NAMES[type(event)], **vars(event)}, default=vars)


def decode_event(line: str) -> Event:
    """Return the event of a journal line.

    Args:
        line: Line that `encode_event` has written.

    Returns:
        The event.

    Raises:
        ValueError: The line is truncated, or another version wrote it.
    """
    try:
        content = json.loads(line)
        event_type = _EVENTS[content.pop("entry")]
        if event_type is TrialStarted:
            content["trial"] = TrialDescription(**content["trial"])
        event: Event = event_type(**content)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not an entry of a journal: {error}") from error
    return event
