"""Delivers journals to a store from a thread of its own, so that nothing waits for the store."""

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
"""Seconds between attempts at a store that does not answer; the last goes on."""
_ATTEMPTS = 10
"""How often an entry is tried where the store takes others meanwhile."""
_STUCK_SECONDS = 60.0
"""A store that takes nothing for so long, and reports no error, is not waited for at the end."""
_JOIN_SECONDS = 5.0
"""How long the end waits for a call to the store that is under way."""
_LAST = (TrialEnded, TrialInterrupted, ResultShared, TrialPruned)
"""Entries after which nothing of a trial is waiting."""


@dataclass
class _Pending:
    delivery: Replay
    entries: deque[Event] = field(default_factory=deque)
    attempts: int = 0
    failed_at: int | None = None


class JournalWriter:
    """Takes entries, writes them down in the spool, and delivers them, those of a trial in order.

    While the store does not answer everything waits; `warn` is told once, and `say` when it answers again. What the
    store does not take although it answers stays in the spool, and `refused` says why.
    """

    def __init__(
        self,
        store: MlflowStore,
        journals: JournalFolder,
        new_replay: Callable[[], Replay],
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ):
        self.store, self.journals, self.say, self.warn = store, journals, say, warn
        self.down: TrackingError | None = None
        self.refused: dict[str, TrackingError] = {}
        self._new_replay = new_replay
        self._pending: dict[str, _Pending] = {}
        self._changed = threading.Condition()
        self._closing = self._warned = False
        self._taken = 0
        self._thread = threading.Thread(target=self._run, name="ibml-recorder", daemon=True)

    def add(self, key: str, entry: Event) -> None:
        """Take an entry of a trial. When this returns it is in the spool."""
        with self._changed:
            self.journals.append(key, entry)
            if key not in self.refused:
                if key not in self._pending:
                    self._pending[key] = _Pending(self._new_replay())
                self._pending[key].entries.append(entry)
                self._changed.notify_all()
            warn, self._warned = (
                bool(self.journals.warning) and not self._warned,
                bool(self.journals.warning),
            )
        if warn:
            self.warn(
                f"{self.journals.warning}. What MLflow has not taken yet is lost if this process is killed."
            )

    @property
    def pending_count(self) -> int:
        """How many trials have something that the store has not taken."""
        with self._changed:
            return sum(bool(pending.entries) for pending in self._pending.values())

    def flush(self, patience: float) -> bool:
        """Wait until the store has everything.

        Args:
            patience: Seconds to wait for a store that does not answer. Where the process was asked to stop, the whole
                wait takes no longer.

        Returns:
            Whether the store has everything.
        """
        begun = time.monotonic()
        gone_since, taken_at, taken = None, begun, self._taken
        with self._changed:
            while any(pending.entries for pending in self._pending.values()):
                self._changed.wait(0.2)
                now = time.monotonic()
                gone_since = (gone_since or now) if self.down else None
                if self._taken != taken:
                    taken_at, taken = now, self._taken
                if patience == 0 or (gone_since and now - gone_since > patience):
                    return False
                if now - taken_at > _STUCK_SECONDS or (
                    is_stop_requested() and now - begun > patience
                ):
                    return False
        return not self.refused

    def describe_pending(self) -> str:
        """Return a sentence about what the store has not taken; empty if nothing. Waits for no lock."""
        waiting = {key for key, pending in list(self._pending.items()) if pending.entries}
        number = len(waiting | set(self.refused))
        if not number:
            return ""
        results = (
            "The results of 1 trial are" if number == 1 else f"The results of {number} trials are"
        )
        return f"{results} buffered in {self.journals.folder}. Run `ibml sync` to upload them."

    def failed(self, error: TrackingError) -> None:
        """Take note that the store does not answer."""
        with self._changed:
            first = self.down is None
            self.down = error
        if first:
            kept = "memory" if self.journals.warning else self.journals.folder
            self.warn(
                f"{error}. Training goes on; what it gives is kept in {kept} until MLflow answers."
            )

    def answered(self) -> None:
        """Take note that the store answers."""
        with self._changed:
            again, self.down = self.down is not None, None
        if again:
            self.say("MLflow answers again.")

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
        taken = failures = (
            0  # deliveries that the store took in all, and those that it has not taken since
        )
        while (key := self._wait_for_next()) is not None:
            pending = self._pending[key]
            try:
                self._deliver(key, pending)
            except TrackingError as error:
                failures += 1
                alone = (
                    pending.failed_at is not None and taken > pending.failed_at
                )  # it took others' meanwhile
                pending.failed_at, pending.attempts = taken, pending.attempts + alone
                if error.refused or pending.attempts >= _ATTEMPTS:
                    self._quarantine(key, error)
                elif not alone:
                    self.failed(error)
                if self._wait(_PAUSES[min(failures, len(_PAUSES)) - 1]):
                    return
                continue
            except Exception as error:  # noqa: BLE001 - without this thread, all that follows would wait for ever
                self._quarantine(key, TrackingError(f"what a trial has to record fails: {error!r}"))
                continue
            taken, failures = taken + 1, 0
            pending.failed_at, pending.attempts = None, 0
            self.answered()

    def _wait_for_next(self) -> str | None:
        """A trial that has something to deliver, once there is one, each in its turn; nothing when that is over."""
        with self._changed:
            while True:
                key = next((key for key, pending in self._pending.items() if pending.entries), None)
                if key is not None:
                    self._pending[key] = self._pending.pop(key)
                    return key
                if self._closing:
                    return None
                self._changed.wait()

    def _deliver(self, key: str, pending: _Pending) -> None:
        with self._changed:
            entries = list(pending.entries)
        number = pending.delivery.deliver(entries)
        with self._changed:
            last = entries[number - 1]
            for _ in range(number):
                pending.entries.popleft()
            self._taken += number
            if isinstance(last, _LAST) and not pending.entries:
                del self._pending[key]
                self.journals.remove(key)
            self._changed.notify_all()

    def _quarantine(self, key: str, error: TrackingError) -> None:
        """The store takes others' entries and not this one: nothing says that it ever will."""
        with self._changed:
            self.refused[key] = error
            self._pending.pop(key, None)
            self._changed.notify_all()

    def _wait(self, seconds: float) -> bool:
        """Wait before the next attempt; whether it is over instead."""
        with self._changed:
            return self._closing or (
                self._changed.wait_for(lambda: self._closing, seconds) and self._closing
            )
