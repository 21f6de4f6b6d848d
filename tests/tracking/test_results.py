"""Cached results equal those in MLflow after any change of runs, store and cache."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from ibml.records import TrialRecord
from ibml.tracking.journal.events import TrialDescription, TrialEnded
from ibml.tracking.store import trial_reader
from ibml.tracking.store.listing import list_runs
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.result_cache import ResultCache, resolve_cache_file
from ibml.tracking.store.trial_reader import build_trial_record
from tests.benchmarks.store import MINUTE, START, make_store, study_trials

RUNS = 60
TRIALS = study_trials(RUNS, arms=3)
KEY, RUN = TRIALS[7].key, TRIALS[7].run_id


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    make_store(folder, RUNS, arms=3, epochs=2)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IBML_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(template, tmp_path / "store"))


def as_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the list of runs, all has to come through MLflow's API."""
    monkeypatch.setattr(trial_reader, "list_runs", lambda *given: None)


@pytest.fixture(params=["database", "server"])
def store(
    request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> MlflowStore:
    if request.param == "server":
        as_server(monkeypatch)
    return opened(folder)


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowStore:
    as_server(monkeypatch)
    return opened(folder)


@pytest.fixture
def database(folder: Path) -> MlflowStore:
    return opened(folder)


def opened(folder: Path) -> MlflowStore:
    return MlflowStore(f"sqlite:///{folder}/mlflow.db", "ibml")


def from_mlflow(store: MlflowStore) -> dict[str, TrialRecord]:
    """The results without a cache."""
    records: dict[str, TrialRecord] = {}
    for run in store.search_runs("tags.`ibml.kind` = 'trial'"):
        record = build_trial_record(run)
        if record.key not in records or not records[record.key].ended:
            records[record.key] = record
    return records


def checked(store: MlflowStore) -> dict[str, TrialRecord]:
    """Return the results, which are equal if read again from the cache, or from MLflow."""
    results = store.results()
    assert (
        list(results.items()) == list(store.results().items()) == list(from_mlflow(store).items())
    )
    return results


def read_by(store: MlflowStore, call: Callable[[], object]) -> int:
    """Count the runs that MLflow reads during a call."""
    counts, original = [], store.client.search_runs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            store.client,
            "search_runs",
            lambda *a, **k: counts.append(page := original(*a, **k)) or page,
        )
        call()
    return sum(map(len, counts))


def begin(store: MlflowStore, key: str) -> str:
    return store.create_trial(
        TrialDescription(key, "new", {}, {"ibml.key": key, "ibml.seed": "4"}, {}), ""
    )


def test_a_store_is_read_once(store: MlflowStore) -> None:
    assert read_by(store, store.results) == RUNS
    results = checked(store)
    assert list(results) == [trial.key for trial in TRIALS]
    record = results[KEY]
    assert (record.run_id, record.status, record.studies) == (RUN, "finished", {"large": "arm 1"})
    assert (record.arm, record.dataset, record.seed, record.shape) == (
        "arm 1",
        "mfeat",
        2,
        "1" * 64,
    )
    assert (record.started_at, record.ended_at) == (START + 7 * MINUTE, START + 7 * MINUTE + 1000)
    assert record.metrics["test.accuracy"] == 7 + 7 / 7919 + 1 / 101
    # of a server, the runs of the last five minutes once more: its clock and the others' may differ
    is_server = trial_reader.list_runs is not list_runs
    assert read_by(store, store.results) == (5 if is_server else 0)


@pytest.mark.slow
def test_a_run_is_followed_from_its_begin_through_failures_to_its_end(store: MlflowStore) -> None:
    checked(store)
    run = begin(store, "new")
    assert checked(store)["new"].status == "running"
    store.log_rows(run, [(1, row) for row in [{"epoch": 0, "train.loss": 1.5}]])
    assert checked(store)["new"].metrics == {"train.loss": 1.5}
    store.end_trial(run, TrialEnded("failed", {}, {"ibml.reason": "because"}), 0)
    assert (checked(store)["new"].status, store.results()["new"].reason) == ("failed", "because")
    store.describe_trial(run, TrialDescription("new", "new", {}, {"ibml.key": "new"}, {}))
    assert (checked(store)["new"].status, store.results()["new"].ended_at) == ("running", 0)
    store.stop_trial(run)
    assert checked(store)["new"].status == "running"
    store.end_trial(
        run, TrialEnded("finished", {"test.accuracy": 0.5, "test.loss": float("nan")}, {}), 0
    )
    record = store.results()["new"]
    assert (record.ended, record.seed, record.metrics["test.accuracy"]) == (True, 4, 0.5)
    other = begin(store, "new")
    store.end_trial(other, TrialEnded("finished", {}, {}), 0)
    assert store.results()["new"].run_id == run


def test_deleted_runs_vanish_and_restored_ones_come_back(store: MlflowStore) -> None:
    checked(store)
    store.client.delete_run(RUN)
    assert KEY not in checked(store)
    assert RUN not in store.cache.read().records
    store.client.restore_run(RUN)
    assert checked(store)[KEY].run_id == RUN


def test_runs_that_were_deleted_and_removed_for_good_do_not_come_back(store: MlflowStore) -> None:
    checked(store)
    store.client.delete_run(RUN)
    checked(store)
    remove(store, RUN)
    assert KEY not in checked(store)


def test_of_a_database_a_removal_is_noticed_however_it_came(database: MlflowStore) -> None:
    checked(database)
    database.client.delete_run(RUN)
    remove(database, RUN)
    assert KEY not in checked(database)


def remove(store: MlflowStore, run_id: str) -> None:
    """Delete a run as `mlflow gc` does."""
    store.client._tracking_client.store._hard_delete_run(run_id)


def test_a_run_that_a_server_lost_unnoticed_goes_when_everything_is_read(
    server: MlflowStore,
) -> None:
    checked(server)
    server.client.delete_run(RUN)
    remove(server, RUN)
    assert KEY in server.results(), "no call of MLflow tells"
    server.results([f"no such key {n}" for n in range(201)])
    assert KEY not in checked(server)


@pytest.mark.parametrize("others", [0, 201])
def test_a_wrong_clock_hides_no_key_that_is_asked_for(server: MlflowStore, others: int) -> None:
    checked(server)
    run = begin(server, "late")
    server.client.set_tag(run, "ibml.status", "finished")
    server.client.set_terminated(run, end_time=START)
    assert "late" not in server.results()
    assert list(server.results(["late", *map(str, range(others)), KEY])) == ["late", KEY]
    checked(server)


def test_an_end_in_the_future_hides_no_end_after_it(server: MlflowStore) -> None:
    run = begin(server, "future")
    server.client.set_terminated(run, end_time=4_000_000_000_000)
    checked(server)
    server.end_trial(begin(server, "now"), TrialEnded("finished", {}, {}), 0)
    assert checked(server)["now"].ended


def test_only_the_keys_that_are_asked_for_are_given(store: MlflowStore) -> None:
    assert list(store.results([TRIALS[3].key, "none", TRIALS[1].key])) == [
        TRIALS[3].key,
        TRIALS[1].key,
    ]
    assert store.results([]) == {}
    assert len(store.results()) == RUNS


def test_a_shared_result_is_known_as_such(store: MlflowStore) -> None:
    checked(store)
    store.share_trial(RUN, "second", "its arm")
    assert checked(store)[KEY].studies == {"large": "arm 1", "second": "its arm"}
    store.client.set_tag(
        RUN, "ibml.study.third", "elsewhere"
    )  # by a machine with a cache of its own
    assert set(store.results()[KEY].studies) == {"large", "second"}
    store.share_trial(RUN, "third", "elsewhere")
    assert set(checked(store)[KEY].studies) == {"large", "second", "third"}


def test_experiments_of_one_store_do_not_mix(store: MlflowStore) -> None:
    other = MlflowStore(store.uri, "other")
    assert other.results() == {}
    other.end_trial(begin(other, "there"), TrialEnded("finished", {}, {}), 0)
    assert list(checked(other)) == ["there"]
    assert "there" not in checked(store)
    assert len(list_runs(other.uri, other.experiment_id)) == 1


def test_a_store_that_was_moved_or_copied_is_read_from_its_new_place(
    store: MlflowStore, tmp_path: Path
) -> None:
    checked(store)
    copy = opened(Path(shutil.copytree(tmp_path / "store", tmp_path / "copy")))
    copy.client.delete_run(RUN)
    store.client.delete_run(TRIALS[8].run_id)
    assert set(checked(copy)) ^ set(checked(store)) == {KEY, TRIALS[8].key}


def test_a_database_that_an_older_one_replaced_is_as_that_one(
    database: MlflowStore, template: Path
) -> None:
    failed = begin(database, "k")
    database.end_trial(failed, TrialEnded("failed", {}, {}), 0)
    database.client.delete_run(RUN)
    assert checked(database)["k"].status == "failed"
    with (
        sqlite3.connect(template / "mlflow.db") as older,
        sqlite3.connect(database.uri[10:]) as newer,
    ):
        older.backup(newer)
    assert set(checked(database)) == {trial.key for trial in TRIALS}


def overwrite(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:9000])


def scratch(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096:12288] = bytes(8192)
    file.write_bytes(content)


def change(sql: str) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with sqlite3.connect(file) as database:
            database.execute(sql)

    return damage


DAMAGES = {
    "overwritten": overwrite,
    "cut": cut,
    "scratched": scratch,
    "emptied": lambda file: file.write_bytes(b""),
    "another version": change("PRAGMA user_version = 7"),
    "no JSON": change("UPDATE runs SET record = '{' WHERE run_id > '8'"),
    "other fields": change("UPDATE runs SET record = '{\"x\": 1}' WHERE run_id > '8'"),
    "no table": change("DROP TABLE runs"),
}


def test_a_damaged_cache_is_made_anew(database: MlflowStore) -> None:
    expected = database.results()
    for name, damage in DAMAGES.items():
        damage(database.cache.file)
        assert (
            read_by(database, lambda name=name: check(database.results() == expected, name)) > 0
        ), name
        assert (
            read_by(database, lambda name=name: check(database.results() == expected, name)) == 0
        ), name


def check(holds: bool, name: str) -> None:
    assert holds, name


def test_a_cache_that_cannot_be_is_done_without(database: MlflowStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for file in (None, tmp_path / "file" / "below", tmp_path):
        database.cache = ResultCache(file)
        checked(database)
        database.share_trial(RUN, "second", "arm")


def test_the_cache_of_a_busy_process_is_waited_for_and_then_done_without(
    database: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibml.tracking.store.result_cache.WAIT_SECONDS", 0.05)
    expected = database.results()
    file = database.cache.file.stat().st_ino
    with sqlite3.connect(database.cache.file, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert database.results() == expected
        other.execute("ROLLBACK")
    assert read_by(database, database.results) == 0
    assert database.cache.file.stat().st_ino == file, "it was not thrown away"


def write_many(file: Path, first: int) -> None:
    cache = ResultCache(file)
    for number in range(first, first + 50):
        cache.write(
            [TrialRecord(str(number), str(number), "finished", {"m": number / 7})], [], (), number
        )
        cache.share(str(number), "s", "arm")
        assert str(number) in cache.read().records


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    file = tmp_path / "new" / "cache"
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(write_many, [file, file], [0, 50]))
    records = ResultCache(file).read().records
    assert {k: (r.metrics["m"], r.studies) for k, r in records.items()} == {
        str(n): (n / 7, {"s": "arm"}) for n in range(100)
    }


def test_the_cache_is_the_users_and_one_for_each_experiment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("IBML_CACHE")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    file = resolve_cache_file("u", "1", 5)
    assert file.parent == Path("/home/me/.cache/ibml")
    assert (
        len(
            {
                file,
                resolve_cache_file("u", "1", 6),
                resolve_cache_file("u", "2", 5),
                resolve_cache_file("v", "1", 5),
            }
        )
        == 4
    )
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/mine")
    assert resolve_cache_file("u", "1", 5).parent == Path("/var/mine/ibml")
    monkeypatch.setenv("IBML_CACHE", "/fast")
    assert resolve_cache_file("u", "1", 5).parent == Path("/fast")
