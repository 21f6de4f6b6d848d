"""The store on a real MLflow with SQLite."""

from __future__ import annotations

import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ibml.common.redaction import redact_url
from ibml.common.yaml import documents
from ibml.tracking.journal.events import TrialDescription, TrialEnded
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.uri import TrackingError, check_reachable, choose_uri
from tests.report.test_search import proposal, record
from tests.report.test_table import ACCURACY, study


@pytest.fixture
def store(tmp_path: Path) -> MlflowStore:
    return MlflowStore(f"sqlite:///{tmp_path}/mlflow.db", "experiment")


TRIAL = TrialDescription(
    "k", "arm · seed 0", {"arm": "a", "x.y": [1, 2]}, {"ibml.key": "k"}, {"seed": 0, "name": "1e3"}
)


def begin(store: MlflowStore) -> str:
    run = store.create_trial(TRIAL, "driver")
    assert store.describe_trial(run, TRIAL) == 0
    return run


def test_a_trial_is_found_by_its_key_once_it_has_ended(store: MlflowStore) -> None:
    run = begin(store)
    assert store.results()["k"].status == "running"
    store.log_rows(
        run,
        [(1, row) for row in [{"epoch": 0, "train.loss": 1.5}, {"epoch": 1, "train.loss": 0.5}]],
    )
    assert not store.results()["k"].ended
    store.end_trial(
        run, TrialEnded("finished", {"test.accuracy": 0.9}, {"ibml.platform": "cpu"}), 1
    )
    record = store.results()["k"]
    assert record.ended
    assert record.metrics == {"train.loss": 0.5, "test.accuracy": 0.9}
    assert store.client.get_run(run).info.status == "FINISHED"


def test_epochs_are_steps_and_batches_hold_any_number(store: MlflowStore) -> None:
    run = begin(store)
    store.log_rows(
        run,
        [(1, row) for row in [{"epoch": e, "a": float(e), "b": 1.0, "c": 2.0} for e in range(500)]],
    )
    history = store.client.get_metric_history(run, "a")
    assert [(m.step, m.value) for m in history] == [(e, float(e)) for e in range(500)]


def test_a_result_wins_over_a_failure_with_the_same_key(store: MlflowStore) -> None:
    first = begin(store)
    store.end_trial(first, TrialEnded("failed", {}, {"ibml.reason": "because"}, "the trace"), 0)
    record = store.results()["k"]
    assert (record.status, record.reason, record.ended) == ("failed", "because", False)
    second = begin(store)
    store.end_trial(second, TrialEnded("finished", {}, {}), 0)
    assert store.results()["k"].run_id == second


def test_a_run_that_was_cut_off_goes_on(store: MlflowStore) -> None:
    run = begin(store)
    store.log_rows(
        run,
        [
            (1, row)
            for row in [{"epoch": e, "train.loss": 1.0, "time.epoch": 0.1} for e in range(3)]
        ],
    )
    store.log_rows(
        run, [(2, row) for row in [{"epoch": 3, "train.loss": 1.0}]]
    )  # an epoch that was cut off
    store.stop_trial(run)
    assert store.client.get_run(run).info.status == "KILLED"
    assert store.describe_trial(run, replace(TRIAL, params={"arm": "other", "z": 1})) == 3
    found = store.client.get_run(run)
    assert found.info.status == "RUNNING"
    assert found.data.params == {"arm": "a", "x.y": "[1, 2]", "z": "1"}, (
        "the name that another study gave stays"
    )


def test_a_study_has_one_run_with_its_last_record(store: MlflowStore, tmp_path: Path) -> None:
    record = study(ACCURACY)
    with store.open_run("study", record, "name: demo\n") as first:
        assert store.client.get_run(first.run_id).info.status == "RUNNING"
        first.files, first.status = {"table.txt": "a table"}, "FINISHED"
    assert store.client.get_run(first.run_id).info.status == "FINISHED"
    with store.open_run(
        "study", record.model_copy(update={"description": "other"}), "name: demo\n"
    ) as again:
        pass
    assert first.run_id == again.run_id
    assert store.study("demo").description == "other"
    names = {artifact.path for artifact in store.client.list_artifacts(first.run_id)}
    assert names == {"study.yaml", "study.json", "table.txt"}
    assert (tmp_path / "mlruns").is_dir(), (
        "artifacts lie beside the database, wherever the command runs"
    )


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")]
)
def test_a_study_that_ends_in_an_error_is_not_left_running(
    store: MlflowStore, error: type, status: str
) -> None:
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
    assert documents.read(path).data == {"seed": 0, "name": "1e3"}


def test_rows_are_not_cut_between_calls(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sizes = begin(store), []
    original = store.client.log_batch
    monkeypatch.setattr(
        store.client,
        "log_batch",
        lambda r, metrics, **rest: (sizes.append(len(metrics)), original(r, metrics, **rest)),
    )
    store.log_rows(
        run,
        [
            (1, row)
            for row in [{"epoch": e, **{f"m{k}": 1.0 for k in range(7)}} for e in range(300)]
        ],
    )
    assert sizes == [896, 896, 308]


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


def test_an_unknown_study_is_answered_with_those_there_are(store: MlflowStore) -> None:
    with pytest.raises(TrackingError, match=r"no study is called 'demo'.*it has no study yet"):
        store.study("demo")
    with store.open_run("study", study(ACCURACY), ""):
        pass
    for name in ("dmeo", "d'emo"):
        with pytest.raises(TrackingError, match=r"no study is called .*it has demo"):
            store.study(name)


def test_the_name_of_something_else_is_answered_with_the_command_that_shows_it(
    store: MlflowStore,
) -> None:
    with store.open_run("study", study(ACCURACY), ""):
        pass
    with store.open_run("search", record([proposal(0, (0.5,))], {}, name="its search"), ""):
        pass
    with pytest.raises(
        TrackingError,
        match=r"^'its search' is a search, not a study; .*: ibml report 'its search'$",
    ):
        store.study("its search")
    with pytest.raises(
        TrackingError, match=r"^'demo' is a study, not a search; show it with: ibml table demo$"
    ):
        store.search("demo")
    for name in ("demo", "demo/a"):
        with pytest.raises(
            TrackingError, match=r"^'demo' is a study, not a trial; show it with: ibml table demo$"
        ):
            store.find_trial(name)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@127.0.0.1:1/nothing", "postgresql://me:***@127.0.0.1:1/nothing"),
        ("http://me:secret@127.0.0.1:1", "http://me:***@127.0.0.1:1 "),
        (
            "sqlite:////no/such/folder/mlflow.db",
            "/no/such/folder/mlflow.db cannot be written: No such file",
        ),
        ("sqlite:////proc", "/proc cannot be written: Is a directory"),
        ("http://me:secret@[::1", "MLflow at http://me:***@[::1"),
        ("nonsense://x", "nonsense://x"),
    ],
)
def test_a_store_out_of_reach_is_named_without_its_password(uri: str, shown: str) -> None:
    with pytest.raises(TrackingError) as caught:
        MlflowStore(uri).results()
    assert shown in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_study_is_found_after_its_folder_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_the_uri_is_given_or_in_the_environment_or_the_working_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert choose_uri(None) == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert choose_uri(None) == "http://127.0.0.1:5000"
    assert choose_uri("sqlite:///other.db") == "sqlite:///other.db"
    assert redact_url("sqlite:///other.db") == "sqlite:///other.db"
