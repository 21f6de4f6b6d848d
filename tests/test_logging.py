"""Logging in a program that calls ibml."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import ibml
from ibml.config.trial import TrialConfig
from ibml.study import ablation
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.progress import StudyProgress
from ibml.study.engine.retry import Fault
from ibml.tracking.session import Session
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.uri import TrackingError
from tests.study.test_scheduler import task

Build = Callable[..., TrialConfig]
LATE = {"type": "ibml", "window": {"first_epoch": 5}}


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(MlflowStore(f"sqlite:///{tmp_path}/mlflow.db"), None, lambda text: None)


def lines(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage())
        for record in log.records
        if record.name.startswith("ibml.")
    ]


def test_a_program_that_does_not_configure_logging_sees_no_messages() -> None:
    code = "import ibml, logging; logging.getLogger('ibml.anything').warning('not shown')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_messages_of_a_session_are_logged(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ibml")
    session.say("all is 100 % well\x1b[2J")
    session.writer.failed(TrackingError("MLflow is gone"))
    session.writer.answered()
    (said, down, again) = lines(caplog)
    assert said == ("INFO", "all is 100 % well[2J")
    assert down[0] == "WARNING"
    assert down[1].startswith("MLflow is gone. ")
    assert again[0] == "INFO"


def test_retries_and_failures_of_trials_are_logged(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        session,
        Coordinator(
            session, StudyProgress(Console(quiet=True), 1, 40), [task(None, None)]
        ) as driver,
    ):
        for _ in range(2):  # the same fault in the same epoch: it always comes
            running = driver.request_task(1)
            assert running
            driver.start(running)
            driver.handle_fault(running, Fault("ValueError('no')", "traceback", 1))
    assert lines(caplog) == [
        ("WARNING", "trial is retried after a fault: ValueError('no')"),
        ("WARNING", "trial failed: ValueError('no')"),
    ]
    assert driver.summary.failed == [("trial", "ValueError('no')")]


def test_what_is_probably_not_meant_is_logged(
    trial: Build, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ibml.train(trial(method=LATE, trainer={"epochs": 1, "device": "cpu"}))
    assert [level for level, text in lines(caplog) if "it is plain joint training" in text] == [
        "WARNING"
    ]
    caplog.clear()
    monkeypatch.setattr(ablation, "run_ablation", lambda *given: None)
    arms = {
        "A": {"method.window.first_epoch": 5},
        "B": {"method.type": "joint", "optimizer.lr": 0.5},
    }
    study = {
        "name": "s",
        "base": "mfeat",
        "overrides": {"trainer.epochs": 1, "method.type": "ibml"},
        "design": {"type": "arms", "reference": "B", "arms": arms},
        "seeds": 1,
    }
    ibml.ablate(study)
    assert [level for level, text in lines(caplog) if "it is plain joint training" in text] == [
        "WARNING"
    ]
