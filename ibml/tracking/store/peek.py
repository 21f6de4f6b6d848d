"""What a store has of trials, for those who only look: nothing is made, and nothing brought up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ibml.common.databases import resolve_url
from ibml.common.redaction import redact_url
from ibml.tracking.store.experiment import choose_experiment
from ibml.tracking.store.uri import (
    TrackingError,
    check_reachable,
    choose_uri,
    get_database_file,
    is_server,
)

if TYPE_CHECKING:
    from ibml.tracking.store.listing import ListedTrial


@dataclass(frozen=True)
class Peek:
    """The trials of a store, or the problem because of which they are not known."""

    trials: tuple[ListedTrial, ...] = ()
    problem: str = ""
    studies: tuple[str, ...] = ()
    """The names of the studies."""


def peek_trials(tracking_uri: str | None, metrics: Sequence[str] = ()) -> Peek:
    """Read the trials of a store if it is there and within reach.

    Args:
        tracking_uri: The store; without one, as commands choose it.
        metrics: The metrics whose values are wanted.
    """
    uri = choose_uri(tracking_uri)
    try:
        database = get_database_file(uri)
        if database is not None and (not database.is_file() or not database.stat().st_size):
            return Peek()
        check_reachable(uri)
        if is_server(uri):
            return _peek_server(uri, metrics)
    except TrackingError as error:
        return Peek(problem=str(error))
    from ibml.tracking.store.listing import (
        list_studies,
        list_trials,
    )  # SQLAlchemy takes a quarter of a second

    address = resolve_url(uri, read_only=True)
    found = list_trials(address, choose_experiment(), metrics)
    if found is None:
        return Peek(problem=f"MLflow at {redact_url(uri)} cannot be read as it is")
    return Peek(tuple(found), studies=tuple(list_studies(address, choose_experiment())))


def _peek_server(uri: str, metrics: Sequence[str]) -> Peek:
    """Read the trials of a server. Raises `TrackingError`."""
    from ibml.tracking.store.listing import ListedTrial
    from ibml.tracking.store.mlflow_store import MlflowStore

    store = MlflowStore(uri, read_only=True)
    records = store.results().values()
    return Peek(
        tuple(
            ListedTrial(
                record.key,
                record.status,
                record.fingerprint,
                record.shape,
                {name: record.metrics[name] for name in metrics if name in record.metrics},
            )
            for record in records
        ),
        studies=tuple(store.names("study")),
    )
