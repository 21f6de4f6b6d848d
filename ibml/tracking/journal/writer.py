"""Background thread that uploads journals, so that training never waits for the store."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from ibml.common.processes.interruption import is_stop_requested
from ibml.tracking.journal.events import (
    Event,
    ResultShared,
    TrialEnded,
    TrialInterrupted,
    TrialPruned,
)
from ibml.tracking.journal.journal import JournalFolder
from ibml.tracking.journal.replay import Replay
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.uri import TrackingError

_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts while the store does not respond; the last value repeats."""
_ATTEMPTS = 10
"""Number of attempts for an event while the store takes events of other trials."""
_STUCK_SECONDS = 60.0
"""Time without progress, and without an error, after which `flush` gives up."""
_JOIN_SECONDS = 5.0
"""Time limit at the end for a call to the store that has not returned."""
_LAST = (TrialEnded, TrialInterrupted, ResultShared, TrialPruned)
"""Events after which the journal of a trial is complete."""


@dataclass
class _Pending:
    """Events of one trial that the store does not have yet.

    Attributes:
        replay: Writes the trial's events to the store.
        events: Pending events, oldest first.
        attempts: Failed attempts for the first event during which the store took other events.
        failed_at: Number of deliveries of all trials at the last failure.
    """

    replay: Replay
    events: deque[Event] = field(default_factory=deque)
    attempts: int = 0
    failed_at: int | None = None


class JournalWriter:
    """Appends events to journals, and uploads them in the background, those of each trial in order.

    Events are buffered while the store does not respond. Events that a responding store rejects
    stay in their journal, and their trial is quarantined.

    Args:
        store: Store to write to.
        journals: Journals of this driver.
        new_replay: Returns the replay of a new trial.
        say: Receives a message when the store responds again.
        warn: Receives one message per outage of the store, and one if the journals cannot be
            written.

    Attributes:
        down: Error of a store that does not respond, or None.
        refused: Errors of quarantined trials, by key.
    """

    def __init__(
        self,
        store: MlflowStore,
        journals: JournalFolder,
        new_replay: Callable[[], Replay],
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ):
        self.store = store
        self.journals = journals
        self.say = say
        self.warn = warn
        self.down: TrackingError | None = None
        self.refused: dict[str, TrackingError] = {}
        self._new_replay = new_replay
        self._pending: dict[str, _Pending] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._warned = False
        self._delivered = 0
        self._thread = threading.Thread(target=self._run, name="ibml-journal-writer", daemon=True)

    def add(self, key: str, event: Event) -> None:
        """Append an event to the journal of a trial and schedule its upload.

        Args:
            key: Key of the trial.
            event: The event; it is on disk when this method returns.
        """
        with self._changed:
            self.journals.append(key, event)
            if key not in self.refused:
                if key not in self._pending:
                    self._pending[key] = _Pending(self._new_replay())
                self._pending[key].events.append(event)
                self._changed.notify_all()
            is_new_warning = bool(self.journals.warning) and not self._warned
            self._warned = bool(self.journals.warning)
        if is_new_warning:
            self.warn(
                f"{self.journals.warning}. Results that MLflow does not have yet are in memory only"
                " and are lost if this process is killed."
            )

    @property
    def pending_count(self) -> int:
        """Number of trials with events that the store does not have."""
        with self._changed:
            return sum(bool(pending.events) for pending in self._pending.values())

    def flush(self, timeout: float) -> bool:
        """Wait until the store has all events.

        Args:
            timeout: Seconds to wait for a store that does not respond. If the process was asked to
                stop, this limits the whole wait.

        Returns:
            True if the store has all events.
        """
        begun = time.monotonic()
        down_since = None
        progress_at, delivered = begun, self._delivered
        with self._changed:
            while any(pending.events for pending in self._pending.values()):
                self._changed.wait(0.2)
                now = time.monotonic()
                down_since = (down_since or now) if self.down else None
                if self._delivered != delivered:
                    progress_at, delivered = now, self._delivered
                if timeout == 0 or (down_since and now - down_since > timeout):
                    return False
                if now - progress_at > _STUCK_SECONDS:
                    return False
                if is_stop_requested() and now - begun > timeout:
                    return False
        return not self.refused

    def describe_pending(self) -> str:
        """Return a message about results that the store does not have, or an empty text.

        No lock is acquired, so signal handlers may call this method.
        """
        pending = {key for key, pending in list(self._pending.items()) if pending.events}
        number = len(pending | set(self.refused))
        if not number:
            return ""
        subject = "The results of 1 trial are"
        if number != 1:
            subject = f"The results of {number} trials are"
        return f"{subject} buffered in {self.journals.folder}. Run `ibml sync` to upload them."

    def failed(self, error: TrackingError) -> None:
        """Record that the store does not respond, and warn once per outage.

        Args:
            error: Error of the store.
        """
        with self._changed:
            is_first = self.down is None
            self.down = error
        if is_first:
            buffer = "memory" if self.journals.warning else self.journals.folder
            self.warn(
                f"{error}. Training continues; results are buffered in {buffer}"
                " until MLflow responds."
            )

    def answered(self) -> None:
        """Record that the store responds."""
        with self._changed:
            was_down = self.down is not None
            self.down = None
        if was_down:
            self.say("MLflow responds again.")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        delivered = 0  # deliveries that the store has taken
        failures = 0  # failed deliveries since the last successful one
        while (key := self._wait_for_next()) is not None:
            pending = self._pending[key]
            try:
                self._deliver(key, pending)
            except TrackingError as error:
                failures += 1
                # The store took events of other trials since this event failed.
                is_event_at_fault = pending.failed_at is not None and delivered > pending.failed_at
                pending.failed_at = delivered
                pending.attempts += is_event_at_fault
                if error.refused or pending.attempts >= _ATTEMPTS:
                    self._quarantine(key, error)
                elif not is_event_at_fault:
                    self.failed(error)
                if self._wait(_PAUSES[min(failures, len(_PAUSES)) - 1]):
                    return
                continue
            except Exception as error:  # noqa: BLE001 - without this thread, all that follows would wait for ever
                self._quarantine(key, TrackingError(f"what a trial has to record fails: {error!r}"))
                continue
            delivered += 1
            failures = 0
            pending.failed_at = None
            pending.attempts = 0
            self.answered()

    def _wait_for_next(self) -> str | None:
        """Wait for a trial with pending events and return its key; trials take turns.

        Returns:
            The key, or None if the writer is closing and nothing is pending.
        """
        with self._changed:
            while True:
                keys = (key for key, pending in self._pending.items() if pending.events)
                key = next(keys, None)
                if key is not None:
                    self._pending[key] = self._pending.pop(key)
                    return key
                if self._closing:
                    return None
                self._changed.wait()

    def _deliver(self, key: str, pending: _Pending) -> None:
        with self._changed:
            events = list(pending.events)
        number = pending.replay.deliver(events)
        with self._changed:
            last = events[number - 1]
            for _ in range(number):
                pending.events.popleft()
            self._delivered += number
            if isinstance(last, _LAST) and not pending.events:
                del self._pending[key]
                self.journals.remove(key)
            self._changed.notify_all()

    def _quarantine(self, key: str, error: TrackingError) -> None:
        """Stop uploading the events of a trial that the store rejects; they stay in the journal."""
        with self._changed:
            self.refused[key] = error
            self._pending.pop(key, None)
            self._changed.notify_all()

    def _wait(self, seconds: float) -> bool:
        """Wait before the next attempt, and return True if the writer is closing."""
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, seconds)
            return self._closing
