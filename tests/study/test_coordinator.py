"""Two concurrent drivers on a real MLflow with SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from rich.console import Console

from ibml.study.engine import trial_ledger
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.progress import StudyProgress
from ibml.study.engine.run_metadata import build_trial_description
from ibml.tracking.journal.events import MetricsLogged, TrialEnded, TrialStarted
from ibml.tracking.session import Session
from ibml.tracking.store.mlflow_store import MlflowStore
from tests.study.test_scheduler import task
from tests.support.scheduling import Source
from tests.support.searches import LR, Lab, plan_of, rows_of
from tests.support.writing import description


def test_who_waits_for_another_driver_goes_on_when_the_store_answers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of its own is waiting for the store then, which would show that it answers."""
    monkeypatch.setattr(trial_ledger, "_POLL_SECONDS", 0.0)
    store, said, shared = (
        MlflowStore(f"sqlite:///{tmp_path}/mlflow.db"),
        list[str](),
        task(None, None),
    )
    trial = build_trial_description(shared.spec, None, {})
    with Session(store, None, said.append) as first, Session(store, None, said.append) as second:
        claim = first.claim(trial, None)
        assert claim
        first.add(trial.key, TrialStarted(trial, claim.run_id))
        assert first.flush()
        with Coordinator(second, StudyProgress(Console(quiet=True), 1, 40), [shared]) as driver:
            assert driver.request_task(1) is None
            database = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
            database.execute("ALTER TABLE runs RENAME TO away")
            assert driver.request_task(1) is None
            database.execute("ALTER TABLE away RENAME TO runs")
            database.close()
            first.add(trial.key, TrialEnded("finished", {}, {}))
            assert first.flush()
            assert not driver.is_done
            assert driver.request_task(1) is None
            assert driver.is_done
            assert driver.summary.reused == 1
    assert [text.partition(" ")[0] for text in said] == ["1", "MLflow", "MLflow"]
    assert "no such table" in said[1]


def test_a_search_trains_what_has_a_result_without_the_epochs_that_it_looks_at(
    tmp_path: Path,
) -> None:
    store = MlflowStore(f"sqlite:///{tmp_path}/mlflow.db")
    source = Source(Lab(tmp_path).open(plan_of(LR, trials=1)), task)
    with Session(store, None, print) as session:
        trial_run = source.search.next()
        assert trial_run
        key = task(source, trial_run).spec.key
        session.add(key, TrialStarted(description(key), ""))
        session.add(key, MetricsLogged(rows_of(trial_run)[:5]))
        session.add(key, TrialEnded("finished", {"time.total": 1.0}, {}))
        session.flush()
        before = store.find_runs(key)
        again = Source(Lab(tmp_path).open(plan_of(LR, trials=1)), task)
        progress = StudyProgress(Console(quiet=True), 1, 10)
        with Coordinator(session, progress, [], [again], store.results()) as driver:
            trained = driver.request_task(1)
            assert trained, "it waits for nobody"
            assert trained.trial_run
            end = {
                "status": "finished",
                "final": {"time.total": 1.0},
                "reason": "",
                "platform": "cpu",
            }
            driver.report(trained, {"rows": rows_of(trained.trial_run), "done": True, **end})
            assert driver.request_task(1) is None
            assert driver.is_done
            assert driver.error is None
        session.flush_or_raise()
        assert store.find_runs(key) == before
