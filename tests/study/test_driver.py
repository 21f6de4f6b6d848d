"""A driver beside another one, on a real MLflow with SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from rich.console import Console

from ibml.study import driver as drivers
from ibml.study.driver import Driver
from ibml.study.progress import StudyProgress
from ibml.study.trial_run import described
from ibml.tracking.entries import Begin, End
from ibml.tracking.mlflow_store import MlflowStore
from ibml.tracking.session import Session
from tests.study.test_queue import task


def test_who_waits_for_another_driver_goes_on_when_the_store_answers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of its own is waiting for the store then, which would show that it answers."""
    monkeypatch.setattr(drivers, "_LOOK_SECONDS", 0.0)
    store, said, shared = MlflowStore(f"sqlite:///{tmp_path}/mlflow.db"), list[str](), task(None, None)
    trial = described(shared.trial, None, {})
    with Session(store, None, said.append) as first, Session(store, None, said.append) as second:
        claim = first.claim(trial, None)
        assert claim
        first.add(trial.key, Begin(trial, claim.run_id))
        assert first.settle()
        with Driver([shared], [], {}, second, StudyProgress(Console(quiet=True), 1, 40)) as driver:
            assert driver.next(1) is None
            database = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
            database.execute("ALTER TABLE runs RENAME TO away")
            assert driver.next(1) is None
            database.execute("ALTER TABLE away RENAME TO runs")
            database.close()
            first.add(trial.key, End("finished", {}, {}))
            assert first.settle()
            assert not driver.done
            assert driver.next(1) is None
            assert driver.done
            assert driver.outcome.reused == 1
    assert [text.partition(" ")[0] for text in said] == ["1", "MLflow", "MLflow"]
    assert "no such table" in said[1]
    assert said[2] == "MLflow answers again."
