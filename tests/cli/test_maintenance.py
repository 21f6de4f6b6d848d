"""Files that a study leaves on disk, and the maintenance commands."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import ibml
from ibml.cli.report_folder import MANIFEST, write_report
from ibml.common.atomic_files import UNFINISHED, DamagedFileError
from ibml.config.trial import TrialConfig
from ibml.study.planning.keys import compute_trial_key
from ibml.tracking.heartbeat import Heartbeat
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.training.checkpoint_retention import SELECTED, remove_checkpoints
from tests.conftest import CommandLine

STUDY = """\
name: small
base: mfeat
overrides: {trainer.epochs: 2}
design: {type: arms, reference: Joint, arms: {Joint: {method.type: joint}, IBML: {}}}
seeds: 2
"""


@pytest.fixture(scope="module")
def finished(shared_cli: CommandLine) -> CommandLine:
    shared_cli.write("small.yaml", STUDY)
    answer = shared_cli.study("ablate", "small.yaml")
    assert answer.code == 0, answer.err
    return shared_cli


def trials(cli: CommandLine) -> Path:
    (found,) = cli.folder.glob("checkpoints/*/trials")
    return found


def runs(cli: CommandLine, stage: str = "active") -> set[str]:
    connection = sqlite3.connect(cli.folder / "mlflow.db")
    sql = "select run_uuid from runs where lifecycle_stage = ? and name like '%seed%'"
    try:
        return {run for (run,) in connection.execute(sql, (stage,))}
    finally:
        connection.close()


def test_the_selected_epoch_stays_and_gives_its_accuracy_again(finished: CommandLine) -> None:
    folders = list(trials(finished).iterdir())
    assert len(folders) == 4
    assert all([path.name for path in folder.iterdir()] == [SELECTED] for folder in folders)
    results = MlflowStore(f"sqlite:///{finished.folder}/mlflow.db").results()
    config = TrialConfig.model_validate({"data": {"type": "mfeat"}, "seed": 1})
    for folder in folders:
        model = ibml.load_model(folder / SELECTED)
        record = results[folder.name]
        test = ibml.data.load(config.data, model.modalities, record.seed).test
        with torch.no_grad():
            joint, each = model(
                {name: torch.from_numpy(values) for name, values in test.inputs.items()}
            )
        right = joint.argmax(1).numpy() == test.labels
        assert right.mean() == pytest.approx(record.metrics["test.accuracy"], abs=1e-12)
        assert each.shape == (2, len(test), 10)
    broken = finished.folder / "broken.ckpt"
    broken.write_bytes((folders[0] / SELECTED).read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"broken\.ckpt is damaged"):
        ibml.load_model(broken)


def test_gc_removes_what_no_run_refers_to(finished: CommandLine) -> None:
    folder = trials(finished)
    assert "2 files and folders" in finished.inside("gc").out, (
        "the states that both arms shared, one a seed"
    )
    assert "0 files and folders" in finished.inside("gc").out
    old, young, state = (
        folder / ("a" * 64),
        folder / ("b" * 64),
        next(folder.iterdir()) / "state-000001.ckpt",
    )
    unfinished = next(folder.iterdir()) / f"{SELECTED}.1{UNFINISHED}"
    for path in (old, young):
        path.mkdir()
        (path / "state-000001.ckpt").write_bytes(b"x" * 1000)
    for path in (old / "state-000001.ckpt", old):
        os.utime(path, (0, 0))
    (old / "state-000002.ckpt").symlink_to(
        old / "nothing"
    )  # as a file that a driver removes after it was listed
    os.utime(old, (0, 0))
    state.write_bytes(b"x" * 1000)
    unfinished.write_bytes(b"x")
    foreign = folder / "notes"
    foreign.mkdir()
    dry = finished.inside("gc", "--dry-run")
    assert dry.code == 0
    for path in (old, state, unfinished):
        assert f"{path}: " in dry.out
        assert path.exists()
    assert "3 files and folders with 0.0 MB would be removed" in dry.out
    assert "3 files and folders with 0.0 MB removed" in finished.inside("gc").out
    assert not any(path.exists() for path in (old, state, unfinished))
    assert young.exists(), "its run may not be in the store yet"
    assert foreign.exists()
    assert len(list(folder.glob(f"*/{SELECTED}"))) == 4


def test_gc_leaves_what_ibml_did_not_write(finished: CommandLine) -> None:
    root = trials(finished).parent
    ended = next(trials(finished).iterdir())
    notes = [
        ended / "notes.txt",
        root / "populations" / "mine" / "plan.txt",
        root / "stages" / "readme.md",
    ]
    lost = trials(finished) / ("c" * 64)
    notes.append(lost / "plot.png")
    for path in notes:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (lost / "state-000001.ckpt").write_bytes(b"x")
    for path in (*lost.iterdir(), lost, *(root / "populations").rglob("*")):
        os.utime(path, (0, 0))
    answer = finished.inside("gc")
    assert "1 files and folders" in answer.out, answer.out
    assert all(path.exists() for path in notes)
    assert not (lost / "state-000001.ckpt").exists()
    for path in notes:
        path.unlink()
    lost.rmdir()


def test_a_trial_that_ends_leaves_other_files_in_its_folder(tmp_path: Path) -> None:
    for name in ("state-000001.ckpt", "state-best.ckpt", SELECTED, "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    remove_checkpoints(tmp_path, "best")
    assert {path.name for path in tmp_path.iterdir()} == {"state-best.ckpt", SELECTED, "notes.txt"}


def test_a_report_removes_only_files_of_the_report_before(tmp_path: Path) -> None:
    folder = tmp_path / "paper"
    (folder / "figures").mkdir(parents=True)
    mine = folder / "figures" / "photo.png"
    mine.write_bytes(b"mine")
    first = {"index.html": "page", "figures/a.png": b"a", "figures/b.png": b"b"}
    write_report(folder, first)
    (folder / "figures" / "b.png").write_bytes(b"edited by the user")
    write_report(folder, {"index.html": "page"})
    assert mine.read_bytes() == b"mine"
    assert not (folder / "figures" / "a.png").exists()
    assert (folder / "figures" / "b.png").read_bytes() == b"edited by the user"


def test_a_report_never_removes_outside_its_folder(tmp_path: Path) -> None:
    outside, folder = tmp_path / "paper.txt", tmp_path / "report"
    outside.write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    folder.mkdir()
    (folder / MANIFEST).write_text(json.dumps({"../paper.txt": digest, str(outside): digest}))
    write_report(folder, {"index.html": "page"})
    assert outside.exists()


def test_sync_says_where_nothing_is_left(finished: CommandLine) -> None:
    answer = finished.inside("sync")
    assert answer.code == 0
    assert "are in sqlite:///mlflow.db" in answer.out


def test_sync_does_not_claim_what_it_could_not_do(finished: CommandLine) -> None:
    journal = trials(finished).parent / "spool" / "c111ed000000" / "k.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("no entry\n")
    answer = finished.inside("sync")
    assert answer.code == 1
    assert f"{journal} " in answer.out
    assert "1 journals could not be uploaded" in answer.err
    shutil.rmtree(journal.parents[1])


@pytest.mark.parametrize("command", ["gc", "sync"])
def test_a_store_that_is_not_there_is_said(cli: CommandLine, command: str) -> None:
    answer = cli.inside(command, "--tracking-uri", "http://127.0.0.1:1")
    assert answer.code == 1
    assert "MLflow at http://127.0.0.1:1 " in answer.err


@pytest.mark.slow
def test_a_study_whose_driver_was_killed_is_listed_as_interrupted(finished: CommandLine) -> None:
    store = MlflowStore(f"sqlite:///{finished.folder}/mlflow.db")
    (study,) = store.overview()
    store.client.update_run(study.run_id, status="RUNNING")
    try:
        assert "interrupted" in finished.inside("list").out
        with Heartbeat(store) as driver:
            store.tag_run(study.run_id, {"ibml.driver": driver.id})
            code = "import sys; from ibml.cli.main import app; app(['list'])"
            here = subprocess.run(
                [sys.executable, "-c", code],
                cwd=finished.folder,
                capture_output=True,
                text=True,
                check=True,
            )
            assert "running" in here.stdout
    finally:
        store.client.set_terminated(study.run_id, "FINISHED")


@pytest.mark.slow
def test_rerun_trains_everything_again_to_the_same_numbers(finished: CommandLine) -> None:
    before, table = runs(finished), finished.inside("table", "small", "--format", "csv").out
    answer = finished.study("ablate", "small.yaml", "--rerun")
    assert answer.code == 0, answer.err
    assert "4 results" in answer.out
    assert "4 / 4 trials done" in answer.out
    assert finished.inside("table", "small", "--format", "csv").out == table
    assert len(runs(finished)) == 4
    assert not runs(finished) & before
    assert runs(finished, "deleted") == before


@pytest.mark.slow
def test_a_single_trial_that_was_killed_goes_on_from_its_checkpoint(cli: CommandLine) -> None:
    options = (
        "-o",
        "trainer.epochs=150",
        "-o",
        "trainer.checkpoint_seconds=0",
        "-o",
        "trainer.keep=none",
    )
    process = cli.start("train", "mfeat", *options)
    deadline = time.monotonic() + 60
    while (
        len(list(cli.folder.glob("checkpoints/*/trials/*/state-*.ckpt"))) < 2
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = cli.inside("train", "mfeat", *options)
    assert again.code == 0, again.err
    assert " after epoch " in again.out
    connection = sqlite3.connect(cli.folder / "mlflow.db")
    logged = connection.execute(
        "select count(*), count(distinct step), count(distinct run_uuid) from metrics "
        "where key = 'val.loss'"
    )
    assert logged.fetchall() == [(150, 150, 1)]
    connection.close()
    assert not [path for path in cli.folder.glob("checkpoints/**/*") if path.is_file()]


@pytest.mark.parametrize(
    ("field", "value"),
    [("keep", "none"), ("checkpoint_seconds", 1.0), ("max_retries", 0), ("stall_minutes", 3.0)],
)
def test_what_cannot_change_a_result_is_not_in_its_key(field: str, value: object) -> None:
    plain = {"data": {"type": "mfeat"}}
    changed = TrialConfig.model_validate({**plain, "trainer": {field: value}})
    assert compute_trial_key(changed, "data") == compute_trial_key(
        TrialConfig.model_validate(plain), "data"
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("trainer.keep=some", "trainer.keep: 'some' is not known; known: best, none, all"),
        ("trainer.max_retries=-1", "trainer.max_retries: should be greater than or equal to 0"),
        ("trainer.stall_minutes=0", "trainer.stall_minutes: should be greater than 0"),
        (
            "trainer.stall_minutes=1e9",
            "trainer.stall_minutes: should be less than or equal to 525600",
        ),
        ("trainer.checkpoint_seconds=x", "trainer.checkpoint_seconds: expected a number"),
    ],
)
def test_bad_values_are_named(cli: CommandLine, value: str, words: str) -> None:
    cli.write("small.yaml", STUDY)
    answer = cli.inside("ablate", "small.yaml", "--dry-run", "-o", value)
    assert answer.code == 2
    assert words in answer.err
