"""Queries of a store besides results: overviews, trials by name, epochs and files."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from ibml.records import SearchRecord
from ibml.tracking.journal.events import TrialDescription, TrialEnded
from ibml.tracking.store import experiment, reader
from ibml.tracking.store.epochs_csv import format_epochs, parse_epochs
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.uri import TrackingError
from tests.report.test_table import ACCURACY, study
from tests.support.writing import Writing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


NUMBERS = itertools.count()


@pytest.fixture
def store(folder: Path) -> MlflowStore:
    """An experiment of its own in one database, since to make one takes a second."""
    return MlflowStore(f"sqlite:///{folder}/mlflow.db", f"experiment {next(NUMBERS)}")


@pytest.fixture
def server(store: MlflowStore, monkeypatch: pytest.MonkeyPatch) -> MlflowStore:
    """A store without known files on this machine, so all is read through MLflow's client."""
    store.experiment_id  # noqa: B018 - creates the experiment, with artifacts next to the database
    for module in (experiment, reader):
        monkeypatch.setattr(module, "get_database_file", lambda uri: None)
    return store


def row(epoch: int, **values: float) -> dict[str, float]:
    return {"epoch": epoch, "train.loss": 1 / (epoch + 3), "time.epoch": 0.1 + epoch, **values}


def test_epochs_are_a_table_with_all_digits() -> None:
    rows = [
        {"epoch": 0, "b": 0.1 + 0.2, "a,x": 1e-320},
        {"epoch": 1.0, "b": math.inf},
        {"epoch": 2, "b": math.nan},
    ]
    text = format_epochs(rows)
    assert text == 'epoch,"a,x",b\n0,1e-320,0.30000000000000004\n1,,inf\n2,,nan\n'
    parsed = parse_epochs(text)
    assert str(parsed) == str(
        {"a,x": [1e-320, math.nan, math.nan], "b": [0.1 + 0.2, math.inf, math.nan]}
    )
    assert parse_epochs(text, {"b", "c"}).keys() == {"b"}


def test_a_trial_leaves_its_epochs_as_a_file(store: MlflowStore, folder: Path) -> None:
    run = Writing(store)
    run.log([row(0), row(1)])
    assert store.epochs(run.id)["train.loss"] == [1 / 3, 1 / 4], "as it runs, from MLflow's history"
    run.log([row(2)])
    run.end("finished", {"test.accuracy": 0.9})
    (path,) = folder.rglob(f"{run.id}/artifacts/epochs.csv")
    table = pd.read_csv(path, float_precision="round_trip")
    assert list(table) == ["epoch", "time.epoch", "train.loss"]
    assert table["train.loss"].tolist() == [1 / 3, 1 / 4, 1 / 5]
    assert store.epochs(run.id) == {
        "time.epoch": [0.1, 1.1, 2.1],
        "train.loss": [1 / 3, 1 / 4, 1 / 5],
    }


def test_an_attempt_that_was_interrupted_is_in_the_file_too(store: MlflowStore) -> None:
    first = Writing(store)
    first.log([row(0), row(1)])
    first.stop()
    second = Writing(store, goes_on=True)
    second.log([row(0), row(1)])  # they are reported again, and not logged
    second.log([row(1), row(2)])  # its worker was lost, and another trains from the beginning
    second.end("failed", {}, "the trace")
    assert second.id == first.id
    assert store.epochs(first.id, ["time.epoch"]) == {"time.epoch": [0.1, 1.1, 2.1]}
    assert store.read_traceback(first.id) == "the trace"
    assert store.list_artifact_paths(first.id) == ["config.yaml", "epochs.csv", "traceback.txt"]


def test_a_member_that_goes_on_elsewhere_is_read_from_mlflow(store: MlflowStore) -> None:
    first = Writing(store)
    first.log([row(0), row(1)])
    first.stop()
    second = Writing(store, goes_on=True)
    second.log([row(2)])
    second.end("finished", {"test.accuracy": 0.9})
    assert store.list_artifact_paths(first.id) == ["config.yaml"]
    assert store.read_traceback(first.id) is None
    assert store.epochs(first.id) == {
        "time.epoch": [0.1, 1.1, 2.1],
        "train.loss": [1 / 3, 1 / 4, 1 / 5],
    }


@pytest.mark.parametrize("kind", ["store", "server"])
def test_curves_cost_no_call_for_each_metric(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: MlflowStore = request.getfixturevalue(kind)
    runs = []
    for number in range(3):
        run = Writing(store)
        run.log([row(0, value=number), row(1, value=number)])
        run.end("finished", {})
        runs.append(run.id)
    unended = Writing(store)
    unended.log([row(0)])
    asked, original = [], store.client.get_metric_history
    monkeypatch.setattr(
        store.client, "get_metric_history", lambda r, m: asked.append((r, m)) or original(r, m)
    )
    curves = store.read_curves([*runs, unended.id], ["value", "train.loss"])
    assert curves == {
        run: {"value": [n, n], "train.loss": [1 / 3, 1 / 4]} for n, run in enumerate(runs)
    } | {unended.id: {"train.loss": [1 / 3]}}
    assert sorted(asked) == [(unended.id, "train.loss"), (unended.id, "value")]
    assert store.list_artifact_paths(runs[0]) == ["config.yaml", "epochs.csv"]
    assert "mfeat" in store.read_trial_config(runs[0])


def test_an_overview_has_every_study_and_search_as_it_stands(store: MlflowStore) -> None:
    assert store.overview() == []
    record = study(ACCURACY)
    search = SearchRecord.model_validate(
        dict.fromkeys(("name", "description", "arm", "dataset", "file_hash"), "s")
        | dict.fromkeys(("overrides", "objectives", "seeds", "proposals"), ())
        | {key: {} for key in ("sampler", "scheduler", "parameters", "best_params", "best_config")}
        | {"trials": 7, "epochs": 3, "best": None}
    )
    with store.open_run("search", search, "") as opened:
        opened.status = "FINISHED"
    with store.open_run("study", record, "") as running:
        first, second = store.overview()
        assert (second.kind, second.name, second.run_id) == ("study", "demo", running.run_id)
        assert (second.status, second.ended_at) == ("RUNNING", 0)
        assert store.record(second) == record
    info = store.client.get_run(opened.run_id).info
    assert (first.kind, first.name, first.status) == ("search", "s", "FINISHED")
    assert (first.started_at, first.ended_at) == (info.start_time, info.end_time)
    assert store.record(first) == search
    store.client.log_text(opened.run_id, "{}", "search.json")
    assert store.record(first) is None, "of another version: no reason to list nothing at all"
    assert store.overview()[1].status == "FAILED"
    assert store.overview()[1].ended_at > 0


def test_a_trial_is_found_by_what_its_run_or_key_begins_with(store: MlflowStore) -> None:
    keys = ["abcdef", "abcxyz", "abcxyz", "ab"]
    ids = [
        store.create_trial(TrialDescription(k, "t", {}, {"ibml.key": k, "ibml.arm": "A"}, {}), "")
        for k in keys
    ]
    store.end_trial(ids[2], TrialEnded("finished", {}, {}), 0)
    store.create_trial(TrialDescription("abcxq", "t", {}, {"ibml.key": "abcxq"}, {}), "")
    for run in ids:
        assert store.find_trial(run).run_id == store.find_trial(run[:9]).run_id == run
    assert store.find_trial("abcd").run_id == ids[0]
    assert store.find_trial("abcxyz").run_id == store.find_trial("abcxy").run_id == ids[2], (
        "the key's result"
    )
    assert store.find_trial("ab").run_id == ids[3], "a whole key may be short"
    for text, message in {
        "abcx": rf"'abcx' begins the run ids or keys of 2 trials: {ids[2]} \(A, seed None\), ",
        "abc": "at least 4 characters",
        "wxyz": "no trial .* begins with 'wxyz'",
    }.items():
        with pytest.raises(TrackingError, match=message):
            store.find_trial(text)


def test_a_file_that_is_not_there_is_said_in_a_line(store: MlflowStore) -> None:
    with store.open_run("study", study(ACCURACY), "") as opened:
        pass
    with pytest.raises(TrackingError, match=r"MLflow at sqlite.*config\.yaml"):
        store.read_trial_config(opened.run_id)
    assert json.loads(store.read_artifact(opened.run_id, "study.json"))["name"] == "demo"
