"""`ibml reproduce`: trials of a real store, run again in this process."""

from __future__ import annotations

import math
import re
import sqlite3
from contextlib import closing

import pytest
from mlflow import MlflowClient

import ibml
from ibml import data
from ibml.config.trial import TrialConfig
from ibml.records import Status
from ibml.search.database import Database
from ibml.search.plan import load_search
from ibml.study.differences import compare_epochs
from ibml.study.engine.run_metadata import build_trial_description
from ibml.study.engine.searches import open_search
from ibml.study.planning.cells import Cell
from ibml.study.planning.keys import compute_trial_key
from ibml.study.planning.plan import load_trial
from ibml.study.planning.trials import TrialSpec
from ibml.study.single_trial import run_single_trial
from ibml.tracking.journal.events import (
    Event,
    MetricsLogged,
    TrialDescription,
    TrialEnded,
    TrialInterrupted,
    TrialStarted,
)
from ibml.tracking.session import Session
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.training.revision import TRAINER_REVISION
from ibml.training.trainer import Trainer
from tests.conftest import CommandLine


def store_of(cli: CommandLine) -> MlflowStore:
    return MlflowStore(f"sqlite:///{cli.folder}/mlflow.db")


def configured(*overrides: str, epochs: int = 3) -> TrialConfig:
    return load_trial("mfeat", [f"trainer.epochs={epochs}", *overrides])


def recorded(cli: CommandLine, config: TrialConfig) -> str:
    """The run of a trial that was trained to its end."""
    with Session(store_of(cli), None, print) as session:
        return run_single_trial("mfeat", config, session)[1]


def written(store: MlflowStore, trial: TrialDescription, *entries: Event) -> str:
    """The run of a trial that has these entries."""
    with Session(store, None, print) as session:
        claim = session.claim(trial, None)
        assert claim
        for entry in (TrialStarted(trial, claim.run_id), *entries):
            session.add(trial.key, entry)
        session.flush_or_raise()
    return claim.run_id


def cut_short(cli: CommandLine, epochs: int, status: Status | None) -> str:
    """The run of a trial that ended so after some epochs, or was killed then."""
    config = configured()
    fingerprint = data.fingerprint(config.data)
    cell = Cell("mfeat", "mfeat", config, {})
    trainer = Trainer(config)
    trial = TrialSpec(
        cell, config, compute_trial_key(config, fingerprint), fingerprint, "cut short"
    )
    end = TrialEnded(status, {}, {"ibml.reason": "said so"}) if status else TrialInterrupted()
    rows = [trainer.run_epoch() for _ in range(epochs)]
    return written(
        store_of(cli), build_trial_description(trial, None, {}), MetricsLogged(rows), end
    )


def change(cli: CommandLine, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(cli.folder / "mlflow.db")) as database, database:
        assert database.execute(sql, values).rowcount == 1


@pytest.fixture(scope="module")
def finished(shared_cli: CommandLine) -> tuple[CommandLine, str]:
    return shared_cli, recorded(shared_cli, configured())


def test_a_trial_is_identical_and_nothing_is_written(finished: tuple[CommandLine, str]) -> None:
    cli, run = finished
    before = (cli.folder / "mlflow.db").read_bytes()
    files = sorted((cli.folder / "mlruns").rglob("*"))
    answer = cli.inside("reproduce", run[:12])
    assert answer.code == 0, answer.err
    assert re.findall(r"epoch +(\d+)  loss", answer.out) == ["0", "1", "2"]
    metrics = {
        name
        for name in store_of(cli).trial(run).metrics
        if not name.startswith(("time.", "samples."))
    }
    final = {name for name in metrics if name.startswith(("test.", "selected."))}
    assert (
        f"Identical, bit for bit: {len(metrics - final)} metrics of 3 epochs and {len(final)} of "
        "the end." in answer.out
    )
    assert (cli.folder / "mlflow.db").read_bytes() == before
    assert sorted((cli.folder / "mlruns").rglob("*")) == files
    found = ibml.reproduce(
        store_of(cli).trial(run).key, tracking_uri=f"sqlite:///{cli.folder}/mlflow.db"
    )
    assert (found.identical, found.notes) == (True, ())


def test_what_differs_is_named_with_the_first_epoch_and_by_how_much(
    finished: tuple[CommandLine, str],
) -> None:
    cli, run = finished
    history = {m.step: m.value for m in store_of(cli).client.get_metric_history(run, "val.loss")}
    accuracy = store_of(cli).trial(run).metrics["test.accuracy"]
    one_off = math.nextafter(history[1], 9)
    of_run = "where run_uuid = ? and key = ?"
    change(cli, f"update metrics set value = ? {of_run} and step = 1", one_off, run, "val.loss")
    change(cli, f"update metrics set value = value + 0.5 {of_run} and step = 2", run, "val.loss")
    change(cli, f"update latest_metrics set value = value - 0.25 {of_run}", run, "test.accuracy")
    change(cli, f"delete from latest_metrics {of_run}", run, "selected.val.loss")
    file = next((cli.folder / "mlruns").rglob(f"{run}/artifacts/epochs.csv"))
    text = file.read_text()
    file.write_text(text.replace(f"{text.splitlines()[1].split(',')[1]}", "7.5", 1))
    column = text.split(",")[1]
    answer = cli.inside("reproduce", run)
    assert answer.code == 1
    assert "Not identical in 4 of 15 metrics of 3 epochs and " in answer.out
    off = f"which is {history[1] - one_off:+.3g}; in 2 epochs, by at most 0.5"
    assert (
        f"val.loss, first in epoch 1: {one_off!r} in MLflow, {history[1]!r} now, {off}"
        in answer.out
    )
    assert (
        f"test.accuracy, at the end: {accuracy - 0.25!r} in MLflow, {accuracy!r} now, which is "
        "+0.25" in answer.out
    )
    assert "selected.val.loss, at the end: nothing in MLflow, " in answer.out
    assert f"{column}, first in epoch 0: 7.5 in epochs.csv, " in answer.out


def test_another_code_and_platform_are_named_beside_the_result(cli: CommandLine) -> None:
    run = recorded(cli, configured("method.type=joint", epochs=1))
    client = MlflowClient(f"sqlite:///{cli.folder}/mlflow.db")
    client.set_tag(run, "ibml.revision", "0.0.9")
    client.set_tag(run, "ibml.platform", "cpu, torch 1.0")
    answer = cli.inside("reproduce", run)
    assert answer.code == 0, answer.err
    assert "The code is not the same: 0.0.9 then, " in answer.out
    assert "The platform is not the same: cpu, torch 1.0 then, cpu, torch " in answer.out


def test_a_trial_of_another_trainer_data_or_configuration_is_not_trained(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorded(cli, configured("method.type=joint", epochs=1))
    with monkeypatch.context() as later:
        later.setattr("ibml.study.planning.keys.TRAINER_REVISION", TRAINER_REVISION + 1)
        later.setattr("ibml.study.reproduce.TRAINER_REVISION", TRAINER_REVISION + 1)
        answer = cli.inside("reproduce", run)
    assert (answer.code, answer.out) == (1, "")
    then, now = TRAINER_REVISION, TRAINER_REVISION + 1
    assert f"(revision {then} then, {now} now)" in answer.err

    with monkeypatch.context() as later:
        later.setattr("ibml.data.sets.mfeat.source.mfeat_fingerprint", lambda: "f" * 64)
        answer = cli.inside("reproduce", run)
    assert (answer.code, answer.out) == (1, "")
    fingerprint = data.fingerprint(configured().data)
    assert f"(fingerprint {fingerprint[:12]} then, {'f' * 12} now)" in answer.err
    assert "revision" not in answer.err

    file = next((cli.folder / "mlruns").rglob(f"{run}/artifacts/config.yaml"))
    text = file.read_text()
    file.write_text(text.replace("batch_size:", "batch_sise:"))
    answer = cli.inside("reproduce", run)
    assert (answer.code, answer.out) == (1, "")
    assert re.search(r"config.yaml:\d+: .*batch_sise.*did you mean .*batch_size", answer.err)

    file.write_text(text.replace("seed: 0", "seed: 1"))
    answer = cli.inside("reproduce", run)
    assert (answer.code, answer.out) == (1, "")
    assert "its configuration has another key" in answer.err


@pytest.mark.parametrize("status", ["pruned", "failed", None])
def test_a_trial_that_was_cut_short_is_compared_as_far_as_it_came(
    cli: CommandLine, status: str | None
) -> None:
    run = cut_short(cli, 2, status)
    answer = cli.inside("reproduce", run)
    assert answer.code == 0, answer.out + answer.err
    assert "metrics of 2 epochs." in answer.out
    of_run = "where run_uuid = ? and key = ? and step = 0"
    change(cli, f"update metrics set value = 0 {of_run}", run, "train.loss")
    answer = cli.inside("reproduce", run)
    assert answer.code == 1
    assert "train.loss, first in epoch 0: 0.0 in MLflow, " in answer.out


def test_a_trial_without_epochs_has_nothing_to_compare(cli: CommandLine) -> None:
    answer = cli.inside("reproduce", cut_short(cli, 0, "failed"))
    assert answer.code == 1
    assert "no recorded epoch" in answer.err


def test_a_diverged_trial_diverges_in_the_same_epoch(cli: CommandLine) -> None:
    run = recorded(cli, configured("optimizer.lr=1.0e+30"))
    assert store_of(cli).trial(run).status == "diverged"
    assert not math.isfinite(store_of(cli).epochs(run)["train.loss"][-1])
    answer = cli.inside("reproduce", run)
    assert answer.code == 0, answer.out + answer.err
    healthy = cut_short(cli, 2, "diverged")
    answer = cli.inside("reproduce", healthy)
    assert answer.code == 1
    assert "It diverged then (said so)" in answer.out


def test_infinity_is_what_the_database_has_in_its_place(cli: CommandLine) -> None:
    run, store = cut_short(cli, 0, "failed"), store_of(cli)
    store.log_rows(run, [(0, {"epoch": 0, "a": math.inf, "b": -math.inf, "c": math.nan, "d": 0.1})])
    then = store.read_logged_epochs(run)
    same = {"epoch": 0, "a": math.inf, "b": -math.inf, "c": math.nan, "d": 0.1}
    assert list(compare_epochs("MLflow", then, [same], {})) == []
    other = {"epoch": 0, "a": -math.inf, "b": math.nan, "c": 1.0, "d": 0.1}
    assert [d.metric for d in compare_epochs("MLflow", then, [other], {})] == ["a", "b", "c"]


def test_a_member_of_a_population_is_not_determined_by_its_configuration(cli: CommandLine) -> None:
    space = {
        "name": "population",
        "base": "mfeat",
        "overrides": {"trainer.epochs": 4},
        "parameters": {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}},
        "scheduler": {"type": "pbt", "interval_epochs": 2},
        "sampler": {"type": "random"},
        "trials": 4,
    }
    plan = load_search(space)
    opened = open_search(plan, Database(f"sqlite:///{cli.folder}/optuna.db"), cli.folder, plan.name)
    trial_run = opened.search.next()
    task = opened.make_task(trial_run)
    store, trainer = store_of(cli), Trainer(task.config)
    with store.open_run("search", opened.build_record(), plan.text):
        run = written(
            store,
            build_trial_description(task.spec, None, task.tags),
            MetricsLogged([trainer.run_epoch()]),
            TrialInterrupted(),
        )
    answer = cli.inside("reproduce", run)
    assert (answer.code, answer.out) == (1, "")
    assert "trial 0 of population is a member of a population" in answer.err


def test_what_is_no_trial_is_said(finished: tuple[CommandLine, str]) -> None:
    cli, _ = finished
    for text, said in (
        ("zzzz", "no trial in sqlite:///mlflow.db"),
        ("ab", "at least 4 characters"),
    ):
        answer = cli.inside("reproduce", text)
        assert (answer.code, answer.out) == (1, "")
        assert said in answer.err
