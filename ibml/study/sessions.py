"""Sessions on a store, and graceful stops by signals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ibml.common.processes.interruption import deferred, watch_signals
from ibml.tracking.session import Session
from ibml.tracking.store.mlflow_store import MlflowStore

if TYPE_CHECKING:
    from rich.console import Console


def open_session(store: MlflowStore, checkpoints: str | Path | None, console: Console) -> Session:
    """Open a driver's session on a store.

    Args:
        store: The MLflow store.
        checkpoints: Folder or bucket for checkpoints; None for the default of the store.
        console: Console for the session's messages.

    Returns:
        The session, a context manager.
    """
    return Session(
        store,
        checkpoints,
        lambda text: console.print(text, soft_wrap=True, markup=False, highlight=False),
    )


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Stop a study or a search gracefully at SIGINT and SIGTERM; finished trials are kept."""
    with watch_signals(), deferred(lambda: "Stopping ... (press Ctrl-C again to end immediately)"):
        yield
