"""Writes to a store from a thread of its own, in order, so that nothing waits for the store."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Recorder:
    """Runs the jobs it is given one after another. Leaving the context waits for all of them.

    A job that raises is not repeated; `failures` keeps the errors for whoever closes the study. A store that
    fails again and again is given up, since each call to one that is gone takes minutes to fail.
    """

    GIVE_UP_AFTER = 3

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self._jobs: queue.SimpleQueue[Callable[[], None] | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ibml-recorder", daemon=True)

    def submit(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def flush(self) -> None:
        """Wait until everything that was submitted has been run."""
        done = threading.Event()
        self._jobs.put(done)
        done.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        in_a_row = 0
        while (job := self._jobs.get()) is not None:
            if isinstance(job, threading.Event):
                job.set()
                continue
            if in_a_row >= self.GIVE_UP_AFTER:
                self.failures.append(self.failures[-1])
                continue
            try:
                job()
            except Exception as error:  # noqa: BLE001 - the thread must outlive any failure of the store
                self.failures.append(error)
                in_a_row += 1
            else:
                in_a_row = 0
