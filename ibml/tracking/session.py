"""Session of a driver with a store: heartbeat, leases, journals and their background writer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ibml.common.processes.interruption import (
    is_stop_requested,
    raise_if_stop_requested,
    register_leftovers,
)
from ibml.common.redaction import redact_url
from ibml.common.sanitize import strip_control_characters
from ibml.records import TrialRecord
from ibml.tracking.heartbeat import Heartbeat
from ibml.tracking.journal.events import Event, TrialDescription, TrialEnded
from ibml.tracking.journal.journal import JournalFolder, find_abandoned_journals, read_events
from ibml.tracking.journal.replay import Replay
from ibml.tracking.journal.writer import JournalWriter
from ibml.tracking.leases import Lease, Leases
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.uri import TrackingError
from ibml.tracking.workspace import resolve_workspace

_log = logging.getLogger(__name__)

PATIENCE_SECONDS = 20.0
"""Time that the end of a command waits for a store that does not respond."""
_STOP_SECONDS = 10.0
"""The same after a stop was requested. All waits together stay below its `STOP_SECONDS`."""


class Session:
    """Connection of a driver to its store while it trains.

    The store must respond on entry, when journals that dead drivers have left are uploaded too.
    Later outages of any length do not stop training.

    Args:
        store: Store for results.
        checkpoints: Folder or bucket for checkpoints; None for the default.
        say: Receives messages for the user, one line each. They are also logged, for programs that
            call ibml without a console.

    Attributes:
        store: Store for results.
        workspace: Folders of the experiment.
        heartbeat: Heartbeat of this driver.
        leases: Leases of this driver on trials.
        journals: Journals of this driver.
        writer: Uploads the journals in the background.
        quarantined: Abandoned journals that cannot be read or that the store rejects.
    """

    def __init__(
        self, store: MlflowStore, checkpoints: str | Path | None, say: Callable[[str], None]
    ):
        self.store = store
        self._show = say
        self.workspace = resolve_workspace(store, checkpoints)
        self.heartbeat = Heartbeat(store)
        self.leases = Leases(store, self.heartbeat)
        self.journals = JournalFolder(self.workspace.spool, self.heartbeat.id)
        self.writer = JournalWriter(
            store,
            self.journals,
            lambda: Replay(store, self.leases, own=True),
            self.say,
            self.warn,
        )
        self._stack = ExitStack()
        self._timeout = PATIENCE_SECONDS
        self.quarantined: set[Path] = set()

    def __enter__(self) -> Self:
        with self._stack as stack:
            stack.enter_context(register_leftovers(self.writer.describe_pending))  # left last
            stack.enter_context(self.heartbeat)
            number = self.deliver_abandoned_journals()
            if number:
                results = "1 result" if number == 1 else f"{number} results"
                self.say(f"{results} of earlier commands uploaded to MLflow.")
            raise_if_stop_requested()
            stack.enter_context(self.journals)
            stack.enter_context(self.writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            is_flushed = self.flush()
            if is_stop_requested():
                if not is_flushed:
                    self.warn(self.writer.describe_pending())
            elif is_flushed and self.heartbeat.has_peers:
                # A peer may have ended and its trials been taken over. On an error, the next driver
                # uploads its journals.
                with suppress(TrackingError):
                    self.deliver_abandoned_journals()
        finally:  # a second Ctrl-C may end the wait
            self._stack.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        """Show a message to the user, and log it with level INFO."""
        self._tell(logging.INFO, text)

    def warn(self, text: str) -> None:
        """Show a message to the user, and log it with level WARNING."""
        self._tell(logging.WARNING, text)

    def _tell(self, level: int, text: str) -> None:
        _log.log(level, "%s", strip_control_characters(text))
        self._show(text)

    def add(self, key: str, event: Event) -> None:
        """Record an event of a trial.

        Args:
            key: Key of the trial.
            event: The event; it is on disk when this method returns.
        """
        self.writer.add(key, event)

    def claim(self, trial: TrialDescription, known: TrialRecord | None) -> Lease | None:
        """Lease a trial for this driver.

        Args:
            trial: Trial to lease.
            known: Record of the trial from the last reading of the store, if it had one.

        Returns:
            The outcome; None if the store does not respond. The trial may then be trained without a
            lease: if a result exists when it is uploaded, the existing result stays.
        """
        if self.writer.down:
            return None
        try:
            return self.leases.claim(trial, assume_new=known is None)
        except TrackingError as error:
            self.writer.failed(error)
            return None

    def flush(self) -> bool:
        """Wait until the store has all events, with a time limit for a store that does not respond.

        Returns:
            True if the store has all events.
        """
        timeout = self._timeout
        if is_stop_requested():
            timeout = min(timeout, _STOP_SECONDS)
        is_flushed = self.writer.flush(timeout)
        self._timeout = PATIENCE_SECONDS if is_flushed else 0.0  # do not wait a second time
        return is_flushed

    def flush_or_raise(self) -> None:
        """Wait until the store has all events.

        Raises:
            TrackingError: The store does not have all events. The message says what to do.
        """
        if self.flush():
            return
        problem = self.writer.down or next(iter(self.writer.refused.values()), None)
        if problem is None:
            problem = TrackingError(f"MLflow at {redact_url(self.store.uri)} makes no progress")
        number = self.writer.pending_count + len(self.writer.refused)
        subject = "The results of 1 trial" if number == 1 else f"The results of {number} trials"
        advice = (
            f"are buffered in {self.journals.folder}."
            " Run `ibml sync` to upload them, or repeat the command."
        )
        if self.journals.warning:
            advice = (
                f"may be lost: {self.journals.warning}."
                " Repeating the command trains lost trials again."
            )
        raise TrackingError(f"{problem}\n{subject} {advice}")

    def deliver_abandoned_journals(self) -> int:
        """Upload the journals of drivers that have ended.

        Returns:
            The number of results in them.

        Raises:
            TrackingError: The store does not respond.
        """
        number = 0
        abandoned = find_abandoned_journals(self.workspace.spool, self.heartbeat.is_alive)
        for _, journals in abandoned:
            for journal in journals:
                if is_stop_requested():
                    return number
                number += self._deliver_journal(journal)
        return number

    def _deliver_journal(self, journal: Path) -> bool:
        """Upload a journal, and delete it.

        A journal that cannot be read, or that the store rejects, stays and is quarantined.

        Args:
            journal: Path of the journal.

        Returns:
            True if the journal had a result.

        Raises:
            TrackingError: The store does not respond.
        """
        if journal in self.quarantined:
            return False
        try:
            events = read_events(journal)
            replay = Replay(self.store, self.leases, own=False)
            position = 0
            while position < len(events):
                position += replay.deliver(events[position:])
            replay.close()
            journal.unlink()
        except (OSError, ValueError, TrackingError) as error:
            if isinstance(error, TrackingError) and not error.refused:
                raise
            self.quarantined.add(journal)
            self.warn(f"{journal} cannot be uploaded and was left unchanged: {error}")
            return False
        return any(isinstance(event, TrialEnded) for event in events)
