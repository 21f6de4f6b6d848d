"""Progress display of a run: numbers of done, running and failed trials, and the time left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class StudyProgress:
    """Progress display: a live bar on a terminal, otherwise a line every few seconds.

    Progress is measured in epochs.

    Args:
        console: Console for the display.
        trials: Expected number of trials.
        epochs: Expected number of epochs of all trials.
        every: Interval of the lines in seconds, if the output is not a terminal.
    """

    def __init__(self, console: Console, trials: int, epochs: int, every: float = 10.0):
        self.console, self.trials, self.epochs, self.every = console, trials, epochs, every
        self.done = self.running = self.failed = self.epochs_done = 0
        self._printed = time.monotonic()
        self._first: tuple[float, int] | None = None
        """Time and number of the first reported epochs; earlier time was start-up."""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}% of epochs ·"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=epochs)

    def record_trial_start(self) -> None:
        """Count a trial that has started."""
        self.running += 1
        self._refresh()

    def record_epochs(self, number: int) -> None:
        """Count trained epochs; a negative number takes back the epochs of a trial to retry."""
        self.epochs_done += number
        self._first = self._first or (time.monotonic(), self.epochs_done)
        self._refresh()

    def record_trial_end(self, failed: bool, unused_epochs: int) -> None:
        """Count a trial that has ended.

        Args:
            failed: True if it failed.
            unused_epochs: Expected epochs that were not trained because it ended early.
        """
        self.running -= 1
        self.done += not failed
        self.failed += failed
        self.epochs_done += unused_epochs
        self._refresh(last=self.done + self.failed == self.trials)

    def record_skipped(self, trials: int, epochs: int) -> None:
        """Remove expected trials that need no training; their epochs count as done."""
        self.trials -= trials
        self.epochs_done += epochs
        self._refresh(last=self.done + self.failed == self.trials)

    def record_added(self, trials: int, epochs: int) -> None:
        """Add trials to the expected ones."""
        self.trials += trials
        self.epochs += epochs
        self._bar.update(self._task, total=self.epochs)

    @property
    def summary(self) -> str:
        """Numbers of done, running and failed trials, as text."""
        done = f"{self.done} / {self.trials} trials done"
        return f"{done} · {self.running} running · {self.failed} failed"

    def _refresh(self, last: bool = False) -> None:
        if self.console.is_terminal:
            self._bar.update(self._task, completed=self.epochs_done, description=self.summary)
        elif last or time.monotonic() - self._printed > self.every:
            self._printed = time.monotonic()
            self.console.print(f"{self.summary}{self._format_time_left()}", highlight=False)

    def _format_time_left(self) -> str:
        if self._first is None or not self._first[1] < self.epochs_done < self.epochs:
            return ""
        first_time, first_epochs = self._first
        seconds_per_epoch = (time.monotonic() - first_time) / (self.epochs_done - first_epochs)
        return f" · about {seconds_per_epoch * (self.epochs - self.epochs_done):.0f} s left"

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Hide the bar in this context, for example while a debugger uses the terminal."""
        if self.console.is_terminal:
            self._bar.stop()
        try:
            yield
        finally:
            if self.console.is_terminal:
                self._bar.start()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._bar.stop()
