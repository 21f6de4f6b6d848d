"""Summary of a store's trials for previews, without any change to the store or to caches."""

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
    """Trials and studies of a store, or the reason why they are unknown.

    Attributes:
        trials: The trials; empty if the store does not exist yet.
        problem: Error message of a store that cannot be read, or empty.
        studies: Names of the studies.
    """

    trials: tuple[ListedTrial, ...] = ()
    problem: str = ""
    studies: tuple[str, ...] = ()


def peek_trials(tracking_uri: str | None, metrics: Sequence[str] = ()) -> Peek:
    """Read a summary of the trials of a store, if it exists and responds.

    Args:
        tracking_uri: URI of the store; None for the default of commands.
        metrics: Metrics to include.

    Returns:
        The summary. Errors are reported in its `problem`.
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
    # Imported late: SQLAlchemy takes a quarter of a second.
    from ibml.tracking.store.listing import list_studies, list_trials

    address = resolve_url(uri, read_only=True)
    found = list_trials(address, choose_experiment(), metrics)
    if found is None:
        return Peek(problem=f"MLflow at {redact_url(uri)} cannot be read as it is")
    return Peek(tuple(found), studies=tuple(list_studies(address, choose_experiment())))


def _peek_server(uri: str, metrics: Sequence[str]) -> Peek:
    from ibml.tracking.store.listing import ListedTrial
    from ibml.tracking.store.mlflow_store import MlflowStore

    store = MlflowStore(uri, read_only=True)
    trials = []
    for record in store.results().values():
        values = {name: record.metrics[name] for name in metrics if name in record.metrics}
        trial = ListedTrial(
            record.key, record.status, record.fingerprint, record.shape, metrics=values
        )
        trials.append(trial)
    return Peek(tuple(trials), studies=tuple(store.names("study")))
