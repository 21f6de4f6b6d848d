"""The store on a real MLflow with SQLite."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ibml.config import load
from ibml.config.records import TrialRecord
from ibml.config.trial import TrialConfig
from ibml.config.urls import shown_url
from ibml.study.cells import Cell
from ibml.study.trial_run import TrialRun
from ibml.study.trials import PlannedTrial
from ibml.tracking.mlflow_store import MlflowStore, TrialDescription
from ibml.tracking.recorder import Recorder
from ibml.tracking.uri import TrackingError, check_reachable, choose_uri
from tests.report.test_table import ACCURACY, study


@pytest.fixture
def store(tmp_path: Path) -> MlflowStore:
    return MlflowStore(f"sqlite:///{tmp_path}/mlflow.db", "experiment")


TRIAL = TrialDescription("arm · seed 0", {"arm": "a", "x.y": [1, 2]}, {"ibml.key": "k"}, {"seed": 0, "name": "1e3"})


def begin(store: MlflowStore) -> str:
    return store.start_trial(TRIAL, None)


def test_a_trial_is_found_by_its_key_once_it_has_ended(store: MlflowStore) -> None:
    run = begin(store)
    assert store.results()["k"].status == "running"
    store.log_rows(run, [{"epoch": 0, "train.loss": 1.5}, {"epoch": 1, "train.loss": 0.5}])
    assert not store.results()["k"].ended
    store.end_trial(run, "finished", {"test.accuracy": 0.9}, 1, {"ibml.platform": "cpu"})
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
    store.end_trial(first, "failed", {}, 0, {"ibml.reason": "because"}, "the trace")
    record = store.results()["k"]
    assert (record.status, record.reason, record.ended) == ("failed", "because", False)
    second = begin(store)
    store.end_trial(second, "finished", {}, 0, {})
    assert store.results()["k"].run_id == second


def test_a_run_that_was_cut_off_goes_on(store: MlflowStore) -> None:
    run = begin(store)
    store.log_rows(run, [{"epoch": e, "train.loss": 1.0, "time.epoch": 0.1} for e in range(3)])
    store.log_rows(run, [{"epoch": 3, "train.loss": 1.0}])  # an epoch that was cut off
    store.stop_trial(run)
    assert store.client.get_run(run).info.status == "KILLED"
    assert store.resume_trial(run, TRIAL, None) == 3
    assert store.client.get_run(run).info.status == "RUNNING"


def test_a_study_has_one_run_with_its_last_record(store: MlflowStore, tmp_path: Path) -> None:
    record = study(ACCURACY)
    with store.open_run("study", record, "name: demo\n") as first:
        assert store.client.get_run(first.run_id).info.status == "RUNNING"
        first.files, first.status = {"table.txt": "a table"}, "FINISHED"
    assert store.client.get_run(first.run_id).info.status == "FINISHED"
    with store.open_run("study", record.model_copy(update={"description": "other"}), "name: demo\n") as again:
        pass
    assert first.run_id == again.run_id
    assert store.study("demo").description == "other"
    names = {artifact.path for artifact in store.client.list_artifacts(first.run_id)}
    assert names == {"study.yaml", "study.json", "table.txt"}
    assert (tmp_path / "mlruns").is_dir(), "artifacts lie beside the database, wherever the command runs"


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_a_study_that_ends_in_an_error_is_not_left_running(store: MlflowStore, error: type, status: str) -> None:
    with pytest.raises(error), store.open_run("study", study(ACCURACY), "") as opened:
        raise error
    assert store.client.get_run(opened.run_id).info.status == status


def test_a_record_of_another_version_is_said(store: MlflowStore) -> None:
    with store.open_run("study", study(ACCURACY), "") as opened:
        store.client.log_text(opened.run_id, '{"name": "demo"}', "study.json")
    with pytest.raises(TrackingError, match="recorded by another version"):
        store.study("demo")


def test_a_config_file_is_read_back_as_it_was(store: MlflowStore, tmp_path: Path) -> None:
    begin(store)
    (path,) = (tmp_path / "mlruns").rglob("config.yaml")
    assert load.read(path).data == {"seed": 0, "name": "1e3"}


def test_rows_are_not_cut_between_calls(store: MlflowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run, sizes = begin(store), []
    original = store.client.log_batch
    monkeypatch.setattr(
        store.client, "log_batch", lambda r, metrics: (sizes.append(len(metrics)), original(r, metrics))
    )
    store.log_rows(run, [{"epoch": e, **{f"m{k}": 1.0 for k in range(7)}} for e in range(300)])
    assert sizes == [994, 994, 112]


def test_a_server_that_asks_for_a_user_is_there() -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        check_reachable(f"http://me:secret@127.0.0.1:{server.server_port}")


def trial_run(store: MlflowStore, known: TrialRecord | None, study_name: str = "demo") -> TrialRun:
    config = TrialConfig.model_validate({"data": {"type": "mfeat"}})
    planned = PlannedTrial(Cell("mfeat", "arm", config, {}), config, "k", "data", "arm · seed 0")
    run = TrialRun(store)
    run.start(planned, None, {"ibml.study": study_name}, known)
    return run


def test_a_result_that_another_study_finished_meanwhile_is_kept(store: MlflowStore) -> None:
    first = trial_run(store, None, "first")
    stale = store.results()["k"]
    first.end("finished", {"test.accuracy": 0.9}, {})
    second = trial_run(store, stale, "second")
    second.log([{"epoch": 0, "train.loss": 1.0}])
    second.stop()
    record = store.results()["k"]
    assert record.ended
    assert set(record.studies) == {"first", "second"}
    assert store.client.get_run(first.id).info.status == "FINISHED"


def test_rows_that_the_store_did_not_take_go_with_the_next(store: MlflowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trial_run(store, None)
    with monkeypatch.context() as patch:
        patch.setattr(store, "log_rows", lambda *a: (_ for _ in ()).throw(TrackingError("down")))
        with pytest.raises(TrackingError):
            run.log([{"epoch": 0, "train.loss": 3.0, "time.epoch": 1.0}])
        with pytest.raises(TrackingError):
            run.end("finished", {}, {})
        assert not store.results()["k"].ended, "a trial whose epochs are missing is no result"
    run.log([{"epoch": 1, "train.loss": 2.0, "time.epoch": 1.0}])
    run.end("finished", {}, {})
    assert [m.step for m in store.client.get_metric_history(run.id, "train.loss")] == [0, 1]
    assert store.results()["k"].ended


def test_a_trial_whose_run_could_not_be_begun_is_never_a_result(store: MlflowStore) -> None:
    run = TrialRun(store)
    with pytest.raises(TrackingError, match="could not be begun"):
        run.end("finished", {}, {})


def test_an_unknown_study_is_answered_with_those_there_are(store: MlflowStore) -> None:
    with pytest.raises(TrackingError, match=r"no study is called 'demo'.*it has no study yet"):
        store.study("demo")
    with store.open_run("study", study(ACCURACY), ""):
        pass
    for name in ("dmeo", "d'emo"):
        with pytest.raises(TrackingError, match=r"no study is called .*it has demo"):
            store.study(name)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@127.0.0.1:1/nothing", "postgresql://me:***@127.0.0.1:1/nothing"),
        ("http://me:secret@127.0.0.1:1", "http://me:***@127.0.0.1:1 does not answer"),
        ("sqlite:////no/such/folder/mlflow.db", "/no/such/folder/mlflow.db cannot be written: No such file"),
        ("sqlite:////proc", "/proc cannot be written: Is a directory"),
        ("http://me:secret@[::1", "does not answer"),
        ("nonsense://x", "nonsense://x"),
    ],
)
def test_a_store_out_of_reach_is_named_without_its_password(uri: str, shown: str) -> None:
    with pytest.raises(TrackingError) as caught:
        MlflowStore(uri).results()
    assert shown in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_study_is_found_after_its_folder_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = tmp_path / "a b%20c", tmp_path / "after"
    for folder in (tmp_path, before):  # a relative URI means another file in another folder
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        assert MlflowStore("sqlite:///mlflow.db?timeout=5").results() == {}
        assert (folder / "mlflow.db").stat().st_size
    with MlflowStore("sqlite:///mlflow.db").open_run("study", study(ACCURACY), ""):
        pass
    assert (before / "mlruns").is_dir()
    before.rename(after)
    assert MlflowStore(f"sqlite:///{after}/mlflow.db").study("demo").name == "demo"


def test_the_uri_is_given_or_in_the_environment_or_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert choose_uri(None) == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert choose_uri(None) == "http://127.0.0.1:5000"
    assert choose_uri("sqlite:///other.db") == "sqlite:///other.db"
    assert shown_url("sqlite:///other.db") == "sqlite:///other.db"


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


def test_the_recorder_gives_up_a_store_that_is_gone() -> None:
    calls = []

    def broken() -> None:
        calls.append(1)
        raise TrackingError("gone")

    with Recorder() as recorder:
        for _ in range(10):
            recorder.submit(broken)
    assert len(calls) == Recorder.GIVE_UP_AFTER
    assert len(recorder.failures) == 10, "what was not stored is counted all the same"
