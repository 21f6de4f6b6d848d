"""What a trial has to tell the store, as lines of a journal. Times are in milliseconds since 1970."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ibml.records import Status

Row = Mapping[str, float]


def now() -> int:
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
class Begin:
    """A trial is being trained; `run_id` is its run if that could be claimed."""

    trial: TrialDescription
    run_id: str


@dataclass(frozen=True)
class Rows:
    """Metrics of epochs, each row with its `epoch`."""

    rows: Sequence[Row]
    at: int = field(default_factory=now)


@dataclass(frozen=True)
class Tagged:
    """What has changed since the beginning."""

    tags: Mapping[str, str]


@dataclass(frozen=True)
class End:
    """How a trial ended: final metrics, tags, and a traceback if it has one."""

    status: Status
    metrics: Row
    tags: Mapping[str, str]
    log: str | None = None
    at: int = field(default_factory=now)


@dataclass(frozen=True)
class Stop:
    """A trial was interrupted; the same command goes on with it."""


@dataclass(frozen=True)
class Share:
    """A result is part of another study too, as an arm of it."""

    run_id: str
    study: str
    arm: str


@dataclass(frozen=True)
class Prune:
    """A run that was left unfinished has as many epochs as a search wants."""

    run_id: str
    reason: str


Entry = Begin | Rows | Tagged | End | Stop | Share | Prune
_KINDS = {kind.__name__: kind for kind in (Begin, Rows, Tagged, End, Stop, Share, Prune)}


def as_line(entry: Entry) -> str:
    """An entry as a line of JSON without its end; numbers that are no JSON are written as Python does."""
    return json.dumps({"entry": type(entry).__name__, **vars(entry)}, default=vars)


def as_entry(line: str) -> Entry:
    """The entry of a line; raises `ValueError` for one that is cut off or of another version."""
    try:
        content = json.loads(line)
        kind = _KINDS[content.pop("entry")]
        if kind is Begin:
            content["trial"] = TrialDescription(**content["trial"])
        entry: Entry = kind(**content)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no entry of a journal: {error}") from error
    return entry
