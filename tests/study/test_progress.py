"""Progress without a terminal: lines with counts, and a remaining time without the start-up."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ibml.study.engine import progress


def test_lines_count_trials_and_estimate_from_the_pace_of_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    shown = progress.StudyProgress(Console(file=stream, width=100), trials=2, epochs=100, every=1.0)
    shown.record_trial_start()
    for seconds, epochs in [(60.0, 10), (62.0, 10), (64.0, 30)]:
        now[0] = seconds
        shown.record_epochs(epochs)
    shown.record_trial_end(failed=False, unused_epochs=0)
    shown.record_trial_start()
    now[0] = 70.0
    shown.record_trial_end(failed=True, unused_epochs=50)
    assert stream.getvalue().splitlines() == [
        "0 / 2 trials done · 1 running · 0 failed",
        "0 / 2 trials done · 1 running · 0 failed · about 16 s left",
        "0 / 2 trials done · 1 running · 0 failed · about 5 s left",
        "1 / 2 trials done · 0 running · 1 failed",
    ]
