"""What a store has of trials, for those who only look: nothing is made, and nothing brought up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibml.config.urls import shown_url
from ibml.tracking.experiment import chosen_experiment
from ibml.tracking.listing import ListedTrial, listed_trials
from ibml.tracking.uri import TrackingError, as_tracking_error, choose_uri, database_file


@dataclass(frozen=True)
class Peek:
    """The trials of a store, or the problem because of which they are not known."""

    trials: tuple[ListedTrial, ...] = ()
    problem: str = ""


def peek_trials(tracking_uri: str | None, metrics: Sequence[str] = ()) -> Peek:
    """Read the trials of a store if it is there and within reach.

    Args:
        tracking_uri: The store; without one, as commands choose it.
        metrics: The metrics whose values are wanted.
    """
    uri = choose_uri(tracking_uri)
    if uri.startswith(("http://", "https://")):
        return _peek_server(uri, metrics)
    database = database_file(uri)
    if database is not None and (not database.is_file() or not database.stat().st_size):
        return Peek()
    found = listed_trials(uri, chosen_experiment(), metrics)
    if found is None:
        return Peek(problem=f"MLflow at {shown_url(uri)} cannot be read as it is")
    return Peek(tuple(found))


def _peek_server(uri: str, metrics: Sequence[str]) -> Peek:
    from ibml.tracking.mlflow_store import MlflowStore

    store = MlflowStore(uri)
    try:
        with as_tracking_error(uri):
            experiment = store.client.get_experiment_by_name(store.experiment)
        if experiment is None or experiment.lifecycle_stage != "active":
            return Peek()
        records = store.results().values()
    except TrackingError as error:
        return Peek(problem=str(error))
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
        )
    )
