"""A driver at work on a store: its sign of life, its claims, its spool, and who delivers that."""

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
from ibml.tracking.workspace import workspace

_log = logging.getLogger(__name__)

PATIENCE_SECONDS = 20.0
"""How long the end of a command waits for a store that does not answer."""
_STOP_SECONDS = 10.0
"""The same where the process was asked to stop: all its waits together stay below `interruption.STOP_SECONDS`."""


class Session:
    """What a driver does with a store while it trains. The store has to answer at the beginning, when also the
    journals are delivered that drivers have left behind; afterwards it may be out of reach for as long as it likes.

    `say` gets what a person should know, a line at a time. The log of this module gets it too, for programs that call
    ibml without a console.
    """

    def __init__(
        self, store: MlflowStore, checkpoints: str | Path | None, say: Callable[[str], None]
    ):
        self.store, self._show = store, say
        self.workspace = workspace(store, checkpoints)
        self.heartbeat = Heartbeat(store)
        self.leases = Leases(store, self.heartbeat)
        self.journals = JournalFolder(self.workspace.spool, self.heartbeat.id)
        self.writer = JournalWriter(
            store, self.journals, lambda: Replay(store, self.leases, own=True), self.say, self.warn
        )
        self._stack = ExitStack()
        self._patience = PATIENCE_SECONDS
        self.quarantined: set[Path] = set()

    def __enter__(self) -> Self:
        with self._stack as stack:
            stack.enter_context(register_leftovers(self.writer.describe_pending))  # left last
            stack.enter_context(self.heartbeat)
            delivered = self.deliver_abandoned_journals()
            if delivered:
                self.say(f"{delivered} results were not in MLflow yet; they are now.")
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
            settled = self.flush()
            if is_stop_requested():
                if not settled:
                    self.warn(self.writer.describe_pending())
            elif settled and self.heartbeat.has_peers:
                with suppress(TrackingError):  # then the next driver does
                    self.deliver_abandoned_journals()  # of one that has ended meanwhile, and whose trials were taken over
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

    def add(self, key: str, entry: Event) -> None:
        """Record something of a trial."""
        self.writer.add(key, entry)

    def claim(self, trial: TrialDescription, known: TrialRecord | None) -> Lease | None:
        """Lease a trial for this driver; nothing where the store does not answer. Then the trial may be trained all the
        same: when it is recorded, a result that is there meanwhile stays."""
        if self.writer.down:
            return None
        try:
            return self.leases.claim(trial, assume_new=known is None)
        except TrackingError as error:
            self.writer.failed(error)
            return None

    def flush(self) -> bool:
        """Wait until the store has everything, unless it does not answer; whether it has."""
        patience = min(self._patience, _STOP_SECONDS) if is_stop_requested() else self._patience
        settled = self.writer.flush(patience)
        self._patience = PATIENCE_SECONDS if settled else 0.0  # once is enough
        return settled

    def flush_or_raise(self) -> None:
        """Raise `TrackingError` where the store does not have everything, with what to do."""
        if self.flush():
            return
        error = self.writer.down or next(iter(self.writer.refused.values()), None)
        number = self.writer.pending_count + len(self.writer.refused)
        results = "The results of 1 trial" if number == 1 else f"The results of {number} trials"
        advice = f"are buffered in {self.journals.folder}. Run `ibml sync` to upload them, or repeat the command."
        if self.journals.warning:
            advice = f"may be lost: {self.journals.warning}. Repeating the command trains lost trials again."
        raise TrackingError(
            f"{error or f'MLflow at {redact_url(self.store.uri)} takes nothing'}\n{results} {advice}"
        )

    def deliver_abandoned_journals(self) -> int:
        """Deliver what drivers that have ended left in their spools; how many results were among it. Raises
        `TrackingError`."""
        number = 0
        for _, journals in find_abandoned_journals(self.workspace.spool, self.heartbeat.is_alive):
            for journal in journals:
                if is_stop_requested():
                    return number
                number += self._deliver_journal(journal)
        return number

    def _deliver_journal(self, journal: Path) -> bool:
        """Deliver a journal; whether there was a result in it. One that is not to be had, or that the store will never
        take, stays and holds nothing up."""
        if journal in self.quarantined:
            return False
        try:
            every = read_events(journal)
            entries, delivery = list(every), Replay(self.store, self.leases, own=False)
            while entries:
                del entries[: delivery.deliver(entries)]
            delivery.close()
            journal.unlink()
        except (OSError, ValueError, TrackingError) as error:
            if isinstance(error, TrackingError) and not error.refused:
                raise
            self.quarantined.add(journal)
            self.warn(f"{journal} cannot be delivered and is left where it is: {error}")
            return False
        return any(isinstance(entry, TrialEnded) for entry in every)
