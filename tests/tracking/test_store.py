"""The store on a real MLflow with SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibml.tracking.mlflow_store import MlflowStore, TrackingError, choose_uri, shown_uri
from ibml.tracking.recorder import Recorder
from tests.report.test_table import ACCURACY, study


@pytest.fixture
def store(tmp_path: Path) -> MlflowStore:
    return MlflowStore(f"sqlite:///{tmp_path}/mlflow.db", "experiment")


def begin(store: MlflowStore, key: str = "k", parent: str | None = None) -> str:
    return store.start_trial("arm · seed 0", parent, {"arm": "a", "x.y": [1, 2]}, {"ibml.key": key}, {"seed": 0})


def test_a_trial_is_found_by_its_key_once_it_has_ended(store: MlflowStore) -> None:
    run = begin(store)
    assert store.results()["k"].status == "running"
    store.log_rows(run, [{"epoch": 0, "train.loss": 1.5}, {"epoch": 1, "train.loss": 0.5}])
    assert not store.results()["k"].ended
    store.end_trial(run, "finished", {"test.accuracy": 0.9}, 1)
    record = store.results()["k"]
    assert record.ended
    assert record.metrics == {"train.loss": 0.5, "test.accuracy": 0.9}
    assert store.client.get_run(run).info.status == "FINISHED"


def test_epochs_are_steps_and_batches_hold_any_number(store: MlflowStore) -> None:
    run = begin(store)
    store.log_rows(run, [{"epoch": e, "a": float(e), "b": 1.0, "c": 2.0} for e in range(500)])
    history = store.client.get_metric_history(run, "a")
    assert [(m.step, m.value) for m in history] == [(e, float(e)) for e in range(500)]


def test_a_result_wins_over_a_failure_with_the_same_key(store: MlflowStore) -> None:
    first = begin(store)
    store.end_trial(first, "failed", {}, 0, "because", "the trace")
    record = store.results()["k"]
    assert (record.status, record.reason, record.ended) == ("failed", "because", False)
    second = begin(store)
    store.end_trial(second, "finished", {}, 0)
    assert store.results()["k"].run_id == second


def test_a_run_that_was_cut_off_goes_on(store: MlflowStore) -> None:
    run = begin(store)
    store.log_rows(run, [{"epoch": e, "train.loss": 1.0} for e in range(3)])
    store.stop_trial(run)
    assert store.client.get_run(run).info.status == "KILLED"
    assert store.resume_trial(run, None, {"ibml.key": "k"}) == (run, 3)
    assert store.client.get_run(run).info.status == "RUNNING"


def test_a_study_has_one_run_with_its_last_record(store: MlflowStore, tmp_path: Path) -> None:
    record = study(ACCURACY)
    first = store.open_study(record, "name: demo\n")
    store.close_study(first, "FINISHED", {"table.txt": "a table"})
    again = store.open_study(record.model_copy(update={"description": "other"}), "name: demo\n# changed\n")
    assert first == again
    assert store.study("demo").description == "other"
    names = {artifact.path for artifact in store.client.list_artifacts(first)}
    assert names == {"study.yaml", "study.json", "table.txt"}
    assert (tmp_path / "mlruns").is_dir(), "artifacts lie beside the database, wherever the command runs"


def test_an_unknown_study_is_answered_with_those_there_are(store: MlflowStore) -> None:
    with pytest.raises(TrackingError, match=r"no study is called 'demo'.*it has no study yet"):
        store.study("demo")
    store.open_study(study(ACCURACY), "")
    with pytest.raises(TrackingError, match=r"no study is called 'dmeo'.*it has demo"):
        store.study("dmeo")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@127.0.0.1:1/nothing", "postgresql://me:***@127.0.0.1:1/nothing"),
        ("http://me:secret@127.0.0.1:1", "http://me:***@127.0.0.1:1 does not answer"),
        ("sqlite:////no/such/folder/mlflow.db", "no folder /no/such/folder"),
        ("nonsense://x", "nonsense://x"),
    ],
)
def test_a_store_out_of_reach_is_named_without_its_password(uri: str, shown: str) -> None:
    with pytest.raises(TrackingError) as caught:
        MlflowStore(uri).results()
    assert shown in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_uri_is_given_or_in_the_environment_or_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert choose_uri(None) == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert choose_uri(None) == "http://127.0.0.1:5000"
    assert choose_uri("sqlite:///other.db") == "sqlite:///other.db"
    assert shown_uri("sqlite:///other.db") == "sqlite:///other.db"


def test_the_recorder_keeps_order_and_survives_failures() -> None:
    seen: list[int] = []

    def broken() -> None:
        raise TrackingError("down")

    with Recorder() as recorder:
        for number in range(5):
            recorder.submit(lambda number=number: seen.append(number))
        recorder.submit(broken)
        recorder.submit(lambda: seen.append(99))
    assert seen == [0, 1, 2, 3, 4, 99]
    assert [str(error) for error in recorder.failures] == ["down"]
