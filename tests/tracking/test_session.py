"""Sessions of drivers on a real MLflow with SQLite: journals, uploads, leases and heartbeats."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from ibml.records import TrialEntry
from ibml.study.invalidation import invalidate_results
from ibml.tracking import heartbeat as presences
from ibml.tracking.heartbeat import Heartbeat
from ibml.tracking.journal import journal as spools
from ibml.tracking.journal.events import (
    Event,
    MetricsLogged,
    ResultShared,
    TagsUpdated,
    TrialEnded,
    TrialInterrupted,
    TrialPruned,
    TrialStarted,
    decode_event,
    encode_event,
)
from ibml.tracking.journal.journal import JournalFolder, find_abandoned_journals, read_events
from ibml.tracking.journal.replay import Replay
from ibml.tracking.leases import Leases
from ibml.tracking.session import Session
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.uri import TrackingError, translate_errors
from tests.support.records import study
from tests.support.writing import description

TRIAL = description()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, since to make one takes a second."""
    folder = tmp_path_factory.mktemp("template")
    assert MlflowStore(f"sqlite:///{folder}/mlflow.db").results() == {}
    return folder


@pytest.fixture
def store(template: Path, tmp_path: Path) -> MlflowStore:
    shutil.copy(template / "mlflow.db", tmp_path / "mlflow.db")
    return MlflowStore(f"sqlite:///{tmp_path}/mlflow.db")


def session(store: MlflowStore, said: list[str] | None = None) -> Session:
    return Session(store, None, (said if said is not None else []).append)


@pytest.fixture
def other_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Drivers of this process seem to run on different machines, and leases are short."""
    machines = iter(map(str, range(1_000_000)))
    monkeypatch.setattr(presences, "get_machine_id", lambda: next(machines))
    monkeypatch.setattr(presences, "LEASE_SECONDS", 1.5)
    return


def never(driver: str) -> bool:
    """No other driver is alive."""
    return False


def row(epoch: int, loss: float = 1.0) -> dict[str, float]:
    return {"epoch": epoch, "train.loss": loss / (epoch + 1), "time.epoch": 0.5}


def history(store: MlflowStore, run_id: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in store.client.get_metric_history(run_id, "train.loss")]


def test_a_whole_trial_is_written_in_order_and_leaves_no_file(store: MlflowStore) -> None:
    with session(store) as mine:
        claim = mine.claim(TRIAL, None)
        assert claim
        mine.add("k", TrialStarted(TRIAL, claim.run_id))
        for epoch in range(5):
            mine.add("k", MetricsLogged([row(epoch)]))
        mine.add("k", TagsUpdated({"ibml.retries": "1"}))
        mine.add("k", TrialEnded("finished", {"test.accuracy": 0.9}, {"ibml.platform": "cpu"}))
        assert mine.flush()
        record = store.results()["k"]
        assert (record.status, record.driver, record.retries) == ("finished", "", 1)
        assert history(store, record.run_id) == [(e, 1 / (e + 1)) for e in range(5)]
        assert not list(mine.journals.folder.glob("*.jsonl"))
    assert not list(mine.workspace.spool.iterdir())
    assert not store.client.get_experiment(store.experiment_id).tags, (
        "its sign of life goes with it"
    )


@pytest.mark.parametrize(
    "entry",
    [
        TrialStarted(TRIAL, "run"),
        MetricsLogged([{"epoch": 0, "val.loss": float("inf")}], 5),
        TagsUpdated({"a": "b"}),
        TrialEnded("failed", {}, {"ibml.reason": "kaputt \ud800"}, "trace\nback", 7),
        TrialInterrupted(),
        ResultShared("run", "study", "arm"),
        TrialPruned("run", "enough"),
    ],
    ids=lambda entry: type(entry).__name__,
)
def test_entries_survive_their_journal(entry: Event, tmp_path: Path) -> None:
    with JournalFolder(tmp_path, "d00000000000") as spool:
        spool.append("k", entry)
        assert [encode_event(found) for found in read_events(spool.get_path("k"))] == [
            encode_event(entry)
        ]
        spool.remove("k")


@pytest.mark.parametrize(
    "line", ["{}", "[]", '{"entry": "Rows"}', '{"entry": "Nonsense"}', "{", '{"entry": "Begin"}']
)
def test_a_line_that_is_no_entry_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"entry|Expecting"):
        decode_event(line)


def test_a_journal_that_a_kill_cut_off_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    with JournalFolder(tmp_path, "d00000000000") as spool:
        spool.append("k", MetricsLogged([row(0)], 1))
        whole = spool.get_path("k").read_text()
        spool.append("k", MetricsLogged([row(1)], 2))
        every = spool.get_path("k").read_text()
        for size in range(len(whole), len(every)):
            spool.get_path("k").write_text(every[:size])
            assert read_events(spool.get_path("k")) == [MetricsLogged([row(0)], 1)]
        spool.remove("k")


def test_a_journal_says_nothing_after_what_could_not_be_written(tmp_path: Path) -> None:
    with JournalFolder(tmp_path, "d00000000000") as spool:
        spool.append("k", MetricsLogged([row(0)], 1))
        spool.folder.chmod(0o500)
        spool.get_path("k").rename(tmp_path / "kept") if os.getuid() else None
        spool.get_path("k").unlink(missing_ok=True)
        spool.get_path("k").mkdir()  # nothing can be written there, not even by root
        spool.append("k", MetricsLogged([row(1)], 2))
        assert str(spool.folder) in spool.warning
        spool.get_path("k").rmdir()
        spool.append("k", TrialEnded("finished", {}, {}))
        assert not spool.get_path("k").exists()
        spool.folder.chmod(0o700)


def test_journals_of_the_living_are_left_alone(tmp_path: Path) -> None:
    with JournalFolder(tmp_path, "a11e00000000") as spool:
        spool.append("k", TrialInterrupted())
        assert list(find_abandoned_journals(tmp_path, never)) == []
    assert [
        (driver, [path.name for path in paths])
        for driver, paths in find_abandoned_journals(tmp_path, never)
    ] == [("a11e00000000", ["k.jsonl"])]


def test_only_folders_of_drivers_are_looked_at(tmp_path: Path) -> None:
    notes = tmp_path / "my notes"
    notes.mkdir()
    (notes / "lock").write_text("mine")
    assert list(find_abandoned_journals(tmp_path, never)) == []
    assert (notes / "lock").read_text() == "mine"


def test_journals_locked_on_another_machine_wait_for_the_end_of_their_driver(
    tmp_path: Path,
) -> None:
    """Some file systems do not share locks between hosts: a free lock proves nothing."""
    folder = tmp_path / "a11e00000000"
    folder.mkdir()
    (folder / "k.jsonl").write_text("")
    (folder / "lock").write_text("another machine")
    assert list(find_abandoned_journals(tmp_path, lambda driver: driver == folder.name)) == []
    assert [driver for driver, _ in find_abandoned_journals(tmp_path, never)] == [folder.name]


ENTRIES = [
    TrialStarted(TRIAL, ""),
    *(MetricsLogged([row(epoch)], 1000 + epoch) for epoch in range(4)),
    TrialEnded("finished", {"test.accuracy": 0.5}, {"ibml.reason": ""}, at=2000),
]


@pytest.mark.parametrize("delivered", range(len(ENTRIES) + 1))
def test_what_a_killed_driver_left_is_delivered_once_however_far_it_came(
    store: MlflowStore, delivered: int
) -> None:
    """The first entries reached the store before the kill, and the journal has all of them."""
    with Heartbeat(store) as dead:
        first = Replay(store, Leases(store, dead), own=True)
        for entry in ENTRIES[:delivered]:
            first.deliver([entry])
    said: list[str] = []
    with JournalFolder(session(store).workspace.spool, dead.id) as spool:
        for entry in ENTRIES:
            spool.append("k", entry)
    with session(store, said):
        (run,) = store.find_runs("k").values()
        assert run.status == "finished"
        assert run.metrics["test.accuracy"] == 0.5
        assert history(store, run.run_id) == [(e, 1 / (e + 1)) for e in range(4)]
        assert store.client.get_run(run.run_id).info.status == "FINISHED"
        points = store.client.get_metric_history(run.run_id, "test.accuracy")
        assert [(m.step, m.value) for m in points] == [(3, 0.5)]
    assert [text.split()[:2] for text in said] == [["1", "result"]]
    assert not list(session(store).workspace.spool.glob("*/*"))


def test_a_trial_in_flight_goes_on_in_its_run(store: MlflowStore) -> None:
    dead = Heartbeat(store)
    with JournalFolder(session(store).workspace.spool, dead.id) as spool:
        for entry in ENTRIES[:3]:
            spool.append("k", entry)
    with session(store) as mine:
        (left,) = store.find_runs("k").values()
        assert store.client.get_run(left.run_id).info.status == "KILLED"
        claim = mine.claim(TRIAL, left)
        assert claim
        assert claim.run_id == left.run_id
        mine.add("k", TrialStarted(TRIAL, claim.run_id))
        mine.add("k", MetricsLogged([row(epoch) for epoch in range(4)]))
        mine.add("k", ENTRIES[-1])
        mine.flush()
        assert history(store, left.run_id) == [(e, 1 / (e + 1)) for e in range(4)]
        assert [run.status for run in store.find_runs("k").values()] == ["finished"]


def test_while_the_store_takes_nothing_training_goes_on_and_nothing_is_lost(
    store: MlflowStore, tmp_path: Path
) -> None:
    said: list[str] = []
    with session(store, said) as mine:
        claim = mine.claim(TRIAL, None)
        assert claim
        mine.add("k", TrialStarted(TRIAL, claim.run_id))
        mine.flush()
        database = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
        database.execute("ALTER TABLE metrics RENAME TO away")
        began = time.monotonic()
        for epoch in range(100):
            mine.add("k", MetricsLogged([row(epoch)]))
        assert time.monotonic() - began < 1
        deadline = time.monotonic() + 60
        while mine.writer.down is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert mine.writer.down
        assert mine.claim(replace(TRIAL, key="other"), None) is None, "it is not asked again"
        database.execute("ALTER TABLE away RENAME TO metrics")
        mine.add("k", TrialEnded("finished", {}, {}))
        while mine.writer.pending_count and time.monotonic() < deadline:
            time.sleep(0.1)
        assert history(store, claim.run_id) == [(e, 1 / (e + 1)) for e in range(100)]
    assert len(said) == 2
    assert "no such table" in said[0]
    assert str(mine.journals.folder) in said[0]
    assert said[1].startswith("MLflow ")


def test_a_run_that_was_deleted_under_way_holds_nothing_up(store: MlflowStore) -> None:
    other = description("other", seed=1)
    with session(store) as mine:
        claims = [mine.claim(TRIAL, None), mine.claim(other, None)]
        for trial, claim in zip((TRIAL, other), claims, strict=True):
            assert claim
            mine.add(trial.key, TrialStarted(trial, claim.run_id))
        mine.flush()
        store.delete_run(claims[0].run_id)  # type: ignore[union-attr]
        for key in ("k", "other"):
            mine.add(key, MetricsLogged([row(0)]))
            mine.add(key, TrialEnded("finished", {}, {}))
        mine.flush()
        assert store.results()["other"].ended
        with pytest.raises(TrackingError, match=r"ibml sync"):
            mine.flush_or_raise()
    with session(store):  # the next command creates a new run from the journal
        assert store.results()["k"].ended


def test_a_journal_that_the_store_refuses_holds_no_command_up(store: MlflowStore) -> None:
    said: list[str] = []
    with JournalFolder(session(store).workspace.spool, "dead00000000") as spool:
        spool.append("gone", TrialStarted(description("gone", seed=1), ""))
        spool.append("gone", TagsUpdated({"x" * 300: "longer than a name may be"}))
        for entry in ENTRIES:
            spool.append("k", entry)
    with session(store, said) as mine:
        assert store.results()["k"].ended
        assert mine.deliver_abandoned_journals() == 0
    assert [text.partition(" ")[0] for text in said] == [str(spool.get_path("gone")), "1"], (
        "it is named once"
    )
    assert spool.get_path("gone").exists()


def test_an_entry_that_cannot_be_recorded_holds_no_other_up(store: MlflowStore) -> None:
    with session(store) as mine:
        for key in ("k", "other"):
            trial = description(key)
            claim = mine.claim(trial, None)
            assert claim
            mine.add(key, TrialStarted(trial, claim.run_id))
            mine.add(
                key, MetricsLogged([{"val.loss": 1.0} if key == "k" else row(0)])
            )  # one has no epoch
        mine.add("other", TrialEnded("finished", {}, {}))
        assert not mine.flush()
        assert store.results()["other"].ended
        with pytest.raises(TrackingError, match=r"KeyError\('epoch'\)"):
            mine.flush_or_raise()


def test_a_spool_that_cannot_be_written_is_said_once(store: MlflowStore) -> None:
    said: list[str] = []
    with session(store, said) as mine:
        mine.journals.get_path("k").mkdir()
        claim = mine.claim(TRIAL, None)
        assert claim
        for entry in (TrialStarted(TRIAL, claim.run_id), *ENTRIES[1:-1]):
            mine.add("k", entry)
        assert len(said) == 1
        assert str(mine.journals.folder) in said[0]
        assert mine.flush()
        assert len(history(store, claim.run_id)) == 4
        mine.journals.get_path("k").rmdir()
        mine.add("k", ENTRIES[-1])


def test_an_answer_that_is_no_json_is_an_error_of_the_store() -> None:
    with (
        pytest.raises(TrackingError, match="MLflow at http://h: Expecting value"),
        translate_errors("http://h"),
    ):
        json.loads("<html>")


def test_a_trial_is_claimed_by_one_of_many_drivers_at_once(store: MlflowStore) -> None:
    """Each tries again until somebody has it, as drivers do."""
    presences_ = [Heartbeat(store) for _ in range(4)]
    for one in presences_:
        one.beat()
    for number in range(5):
        trial = description(f"key {number}", seed=number)
        won: list[str] = []

        def claim(presence: Heartbeat, trial=trial, won=won, number=number) -> None:
            claims = Leases(store, presence)
            for _ in range(50):
                found = claims.claim(trial, assume_new=number % 2 == 0)
                if found.run_id:
                    won.append(presence.id)
                    return
                if won:
                    return
                time.sleep(0.05)

        threads = [threading.Thread(target=claim, args=(one,)) for one in presences_]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        (run,) = store.find_runs(trial.key).values()
        assert run.driver == won[0]


def test_drivers_that_come_one_after_another_do_not_claim_the_same_trial(
    store: MlflowStore,
) -> None:
    """Each searches for runs only if it has peers, and all start within the time of one claim."""
    for number in range(6):
        trial = description(f"key {number}", seed=number)
        won: list[str] = []
        over = threading.Barrier(3)

        def drive(after: float, trial=trial, won=won, over=over) -> None:
            time.sleep(after)
            with Heartbeat(store) as mine:
                known = store.find_runs(trial.key)
                claims = Leases(store, mine)
                for _ in range(50):
                    if claims.claim(trial, assume_new=not known).run_id:
                        won.append(mine.id)
                    if won:
                        break
                    time.sleep(0.05)
                over.wait()

        threads = [
            threading.Thread(target=drive, args=(0.03 * number * place,)) for place in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert len(store.find_runs(trial.key)) == 1


def test_a_driver_that_is_alone_searches_for_no_runs(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session(store) as mine:
        monkeypatch.setattr(store, "search_runs", lambda *arguments: pytest.fail("it searched"))
        assert all(mine.claim(description(f"key {n}"), None).run_id for n in range(3))  # type: ignore[union-attr]


def test_what_another_driver_did_while_it_came_and_went_is_found(store: MlflowStore) -> None:
    with session(store) as mine:
        with session(store) as other:
            claim = other.claim(TRIAL, None)
            assert claim
            other.add("k", TrialStarted(TRIAL, claim.run_id))
            other.add("k", TrialEnded("finished", {}, {}))
        found = mine.claim(TRIAL, None)
        assert found
        assert found.result
        assert found.result.run_id == claim.run_id
        assert len(store.find_runs("k")) == 1
    assert not store.client.get_experiment(store.experiment_id).tags


@pytest.mark.slow
@pytest.mark.usefixtures("other_machine")
def test_what_a_driver_did_that_slept_while_others_took_it_for_dead_is_found(
    store: MlflowStore,
) -> None:
    slept = Heartbeat(store)
    slept.beat()
    watching = Heartbeat(store)
    for _ in range(9):
        watching.list_peers()
        time.sleep(0.2)
    with Heartbeat(store) as mine:
        assert not mine.has_peers
        run_id = Leases(store, slept).claim(TRIAL, assume_new=True).run_id
        found = Leases(store, mine).claim(TRIAL, assume_new=True)
        assert (found.run_id, found.holder) == ("", slept.id)
        assert set(store.find_runs("k")) == {run_id}


def test_what_a_driver_left_that_ended_meanwhile_is_delivered_at_the_end(
    store: MlflowStore,
) -> None:
    with session(store) as mine:
        with session(store) as other:
            claim = other.claim(TRIAL, None)
            assert claim
            left = other.workspace.spool / "dead00000000"
            left.mkdir()
            entries = [TrialStarted(TRIAL, claim.run_id), MetricsLogged([row(0)])]
            (left / "k.jsonl").write_text("".join(f"{encode_event(entry)}\n" for entry in entries))
            (left / "lock").touch()
            other.heartbeat.has_peers = False
        assert left.exists()
        assert mine.heartbeat.detect_peers()
    assert not left.exists()
    assert history(store, claim.run_id) == [(0, 1.0)]


def test_a_trial_that_is_claimed_again_has_one_run(store: MlflowStore) -> None:
    """This happens after a failure that is not in the queue."""
    with session(store) as mine:
        first = mine.claim(TRIAL, None)
        assert first
        mine.add("k", TrialStarted(TRIAL, first.run_id))
        mine.add("k", TrialEnded("failed", {}, {}))
        mine.flush()
        again = mine.claim(TRIAL, None)
        assert again
        assert again.run_id == first.run_id
        assert len(store.find_runs("k")) == 1


def test_a_result_and_a_trial_of_a_living_driver_are_not_claimed(store: MlflowStore) -> None:
    with session(store) as first, session(store) as second:
        mine = first.claim(TRIAL, None)
        assert mine
        theirs = second.claim(TRIAL, None)
        assert theirs
        assert (theirs.run_id, theirs.holder) == ("", first.heartbeat.id)
        first.add("k", TrialStarted(TRIAL, mine.run_id))
        first.add("k", TrialEnded("finished", {}, {}))
        first.flush()
        late = second.claim(TRIAL, None)
        assert late
        assert late.result
        assert late.result.ended
        assert len(store.find_runs("k")) == 1


@pytest.mark.slow
def test_what_a_dead_driver_had_is_taken_over_at_once_on_its_machine(store: MlflowStore) -> None:
    code = (
        "import sys, time\n"
        "from ibml.tracking.store.mlflow_store import MlflowStore\n"
        "from ibml.tracking.session import Session\n"
        "from tests.support.writing import description\n"
        "with Session(MlflowStore(sys.argv[1]), None, print) as mine:\n"
        "    print(mine.claim(description(), None).run_id, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, store.uri], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    run_id = process.stdout.readline().strip()
    with session(store) as mine:
        assert len(mine.heartbeat.list_peers()) == 1
        assert not mine.claim(TRIAL, None).run_id  # type: ignore[union-attr]
        process.kill()
        process.wait()
        assert mine.heartbeat.list_peers() == {}
        assert mine.claim(TRIAL, None).run_id == run_id  # type: ignore[union-attr]


@pytest.mark.usefixtures("other_machine")
def test_a_driver_elsewhere_lives_as_long_as_its_sign_changes(store: MlflowStore) -> None:
    watching, silent, living = Heartbeat(store), Heartbeat(store), Heartbeat(store)
    silent.beat()
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        living.beat()
        seen = watching.list_peers()
        time.sleep(0.2)
    assert set(seen) == {living.id}
    silent.beat()  # it had only slept
    assert set(watching.list_peers()) == {living.id, silent.id}
    assert silent.missed_renewals == 1


@pytest.mark.usefixtures("other_machine")
def test_a_driver_that_slept_writes_nothing_into_what_was_taken_over(store: MlflowStore) -> None:
    slept, awake = Heartbeat(store), Heartbeat(store)
    slept.beat()
    awake.beat()
    claims = Leases(store, slept)
    run_id = claims.claim(TRIAL, assume_new=True).run_id
    mine = Replay(store, claims, own=True)
    mine.deliver([TrialStarted(TRIAL, run_id)])
    mine.deliver([MetricsLogged([row(0)])])
    for _ in range(9):
        awake.list_peers()
        time.sleep(0.2)
    assert Leases(store, awake).claim(TRIAL, assume_new=False).run_id == run_id
    mine.deliver([MetricsLogged([row(1)])])
    mine.deliver([TrialEnded("finished", {}, {})])
    assert history(store, run_id) == [(0, 1.0)]
    (run,) = store.find_runs("k").values()
    assert (run.status, run.driver) == ("running", awake.id)


def test_a_trial_that_is_begun_again_after_it_failed_is_not_left_running_when_it_is_stopped(
    store: MlflowStore,
) -> None:
    with Heartbeat(store) as mine:
        claims = Leases(store, mine)
        delivery = Replay(store, claims, own=True)
        run_id = claims.claim(TRIAL, assume_new=True).run_id
        for entry in (
            TrialStarted(TRIAL, run_id),
            TrialEnded("failed", {}, {}),
            TrialStarted(TRIAL, run_id),
            TrialInterrupted(),
        ):
            delivery.deliver([entry])
        assert store.client.get_run(run_id).info.status == "KILLED"


def test_one_driver_at_a_time_works_on_what_only_one_may(store: MlflowStore) -> None:
    said: list[str] = []
    inside: list[int] = []
    most: list[int] = []
    deadline = time.monotonic() + 20

    def work(number: int) -> None:
        with session(store, said) as mine, mine.heartbeat.exclusive("the search s", mine.say):
            inside.append(number)
            most.append(len(inside))
            while (
                not said and time.monotonic() < deadline
            ):  # the others come back within three seconds
                time.sleep(0.05)
            time.sleep(0.1)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    assert any("the search s is being run by process" in text for text in said)
    assert not store.client.get_experiment(store.experiment_id).tags


def test_the_folder_is_of_the_experiment_however_it_is_reached(
    store: MlflowStore, tmp_path: Path
) -> None:
    folder = session(store).workspace.root
    assert folder.parent == tmp_path / "checkpoints"
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(tmp_path / "mlflow.db", moved / "mlflow.db")
    assert session(MlflowStore(f"sqlite:///{moved}/mlflow.db")).workspace.root.name == folder.name
    assert session(MlflowStore(store.uri, "a/../b c")).workspace.root.name.startswith("a-b-c-")
    assert json.dumps(str(folder))


def leave(store: MlflowStore, key: str, *entries: Event) -> Path:
    """Write the journal that a killed driver leaves of a trial."""
    with JournalFolder(session(store).workspace.spool, "c111ed000000") as spool:
        for entry in entries:
            spool.append(key, entry)
    return spool.get_path(key)


@pytest.mark.parametrize(
    "last", [ResultShared("", "other", "arm"), TrialPruned("", "enough")], ids=["share", "prune"]
)
def test_what_was_left_of_a_run_that_was_deleted_since_keeps_nobody_from_working(
    store: MlflowStore, last: ResultShared | TrialPruned
) -> None:
    run_id = Leases(store, Heartbeat(store)).claim(TRIAL, assume_new=True).run_id
    journal = leave(store, "k", replace(last, run_id=run_id))
    store.delete_run(run_id)
    with session(store):
        assert not journal.exists()


def test_a_folder_that_another_took_for_left_behind_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, looked = spools.FileLock._acquire, []

    def late(lock: FileLock) -> None:
        if not looked:  # before the lock, when the folder is there
            looked.append(True)
            looked.extend(find_abandoned_journals(tmp_path, never))
        acquire(lock)

    monkeypatch.setattr(spools.FileLock, "_acquire", late)
    with JournalFolder(tmp_path, "d00000000000") as spool:
        spool.append("k", TrialInterrupted())
        assert spool.get_path("k").exists()
        assert not spool.warning
        assert list(find_abandoned_journals(tmp_path, never)) == []
        spool.remove("k")


def test_a_run_whose_making_was_not_answered_is_not_made_twice(store: MlflowStore) -> None:
    with session(store) as mine:
        first, *_ = [store.create_trial(TRIAL, mine.heartbeat.id) for _ in range(3)]
        for entry in ENTRIES:
            mine.add("k", entry)
        mine.flush()
        assert {run_id: run.status for run_id, run in store.find_runs("k").items()} == {
            first: "finished"
        }


def test_a_tag_that_is_gone_already_is_removed(store: MlflowStore) -> None:
    run_id = store.create_trial(TRIAL, "d")
    store.tag_run(run_id, {"ibml.claim.d": "claimed"})
    for _ in range(2):
        store.remove_tag(run_id, "ibml.claim.d")
    assert "ibml.claim.d" not in store.read_tags(run_id)


def test_two_drivers_that_rerun_a_study_at_once_make_its_results_anew_once(
    store: MlflowStore,
) -> None:
    again = study(
        {"arm": [None]}, trials=(TrialEntry(arm="arm", dataset="mfeat", seed=0, key="k"),)
    )
    leave(store, "k", *ENTRIES)
    with session(store) as first, session(store) as second:
        known = store.results()
        assert invalidate_results(first, again, known) == {}
        claim = first.claim(TRIAL, None)
        assert claim
        assert invalidate_results(second, again, known) == known
        assert list(store.find_runs("k")) == [claim.run_id]


@pytest.mark.slow
@pytest.mark.usefixtures("created_tables")
def test_a_store_whose_making_was_killed_is_made_by_the_next_command(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    code = (
        f"from ibml.tracking.store.mlflow_store import MlflowStore; MlflowStore({uri!r}).results()"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    while not any(
        path.stat().st_size > 200_000 for path in tmp_path.iterdir() if "-journal" not in path.name
    ):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert MlflowStore(uri).results() == {}
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
