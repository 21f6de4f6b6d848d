"""Population-based training: mutations, resumption, and recorded results."""

from __future__ import annotations

import json
import math
import random
import sqlite3
from pathlib import Path

import pytest
from rich.console import Console

from ibml.common.errors import ConfigError, SourceLocation
from ibml.config.search.space import ChoiceParameter, RangeParameter
from ibml.search.database import Database
from ibml.search.pbt_checkpoints import PbtCheckpointError
from ibml.search.plan import load_search
from ibml.search.population import CHANGES, Population, perturb_value, select_sources
from ibml.search.space import Dimension
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.progress import StudyProgress
from ibml.study.engine.searches import CUT, TAG_LENGTH, _truncate_tag, open_search
from ibml.study.planning.plan import load_plan
from ibml.tracking.session import Session
from ibml.tracking.store.mlflow_store import MlflowStore

SPACE = {
    "name": "population",
    "base": "mfeat",
    "overrides": {"trainer.epochs": 7},
    "parameters": {
        "optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "method.bio.ramp": {"choices": ["constant", "linear_up", "linear_down"]},
        "method.tcm.rate": {"low": 0, "high": 2, "step": 0.5},
        "method.tcm.noise_scale": {
            "low": 0.5,
            "high": 2,
            "when": {"method.tcm.rate": {"low": 0.5}},
        },
    },
    "scheduler": {"type": "pbt", "interval_epochs": 2},
    "sampler": {"type": "random"},
    "trials": 6,
}


class Killed(Exception):
    pass


def run(
    folder: Path, steps: int | None = None, diverges: int | None = None, order: int = 0
) -> Population:
    """Train a population without Ray.

    A state is the history of (epoch, lr), and the value of an epoch is the mean of its rates. After
    the given number of steps the process is killed. Ready members are trained in the given `order`.
    """
    plan = load_search(SPACE)
    search = open_search(
        plan, Database(f"sqlite:///{folder}/optuna.db"), folder / "populations", plan.name
    ).search
    assert isinstance(search, Population)
    search.concurrency, shuffled = 3, random.Random(order)
    flying, done = [], 0
    while not search.done:
        while (trial_run := search.next()) is not None:
            flying.append(
                (
                    trial_run,
                    list(map(tuple, json.loads(trial_run.interval.state)))
                    if trial_run.interval.state
                    else [],
                )
            )
        trial_run, history = flying.pop(shuffled.randrange(len(flying)))
        assert len(history) == trial_run.interval.first
        for epoch in range(trial_run.interval.first, trial_run.interval.stop):
            history.append((epoch, trial_run.config.optimizer.lr))
            value = sum(lr for _, lr in history) / len(history)
            if done == steps:
                raise Killed
            done += 1
            search.report(
                trial_run,
                [{"epoch": epoch, "val.loss": 1.0, "val.accuracy": value, "time.epoch": 1.0}],
            )
        if trial_run.number == diverges and trial_run.interval.first == 2:
            search.end(trial_run, "diverged", {}, "infinite")
        elif trial_run.interval.stop == 7:
            search.end(trial_run, "finished", {"selected.val.accuracy": value, "time.total": 7.0})
        else:
            search.on_interval_end(trial_run, json.dumps(history).encode())
    return search


def outcome(search: Population) -> list[tuple]:
    trials = search.list_trials()
    return [
        (t.number, t.state, t.params, t.values, t.intermediate_values, t.user_attrs.get(CHANGES))
        for t in trials
    ]


@pytest.fixture
def place(tmp_path, monkeypatch):
    def new(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        return folder

    return new


def test_worst_members_go_on_from_the_best_with_changed_values(place):
    folder = place("a")
    search = run(folder)
    trials = {t.number: t for t in search.list_trials()}
    changed = 0
    for epoch in (2, 4, 6):
        ranked = sorted(trials, key=lambda n: (trials[n].intermediate_values[epoch], -n))
        at = {
            n: [c for c in t.user_attrs.get(CHANGES, []) if c["epoch"] == epoch]
            for n, t in trials.items()
        }
        assert [n for n in sorted(at) if at[n]] == ranked[:1]  # a quarter of six is one
        assert at[ranked[0]][0]["from"] == ranked[-1]
        changed += 1
        values = at[ranked[0]][0]["values"]
        assert ("method.tcm.noise_scale" in values) == (values["method.tcm.rate"] >= 0.5)
    assert changed == 3
    last = next(t.user_attrs[CHANGES][-1] for t in trials.values() if CHANGES in t.user_attrs)
    copied, source = next(
        (t, last["from"]) for t in trials.values() if last in t.user_attrs.get(CHANGES, [])
    )
    epoch = last["epoch"]
    before = trials[source].intermediate_values[epoch] * epoch
    assert copied.intermediate_values[epoch + 1] == pytest.approx(
        (before + last["values"]["optimizer.lr"]) / (epoch + 1)
    )
    assert search.get_configuration(copied)[1].optimizer.lr == last["values"]["optimizer.lr"]
    assert not (folder / "populations").exists()


@pytest.mark.slow
@pytest.mark.parametrize("diverges", [None, 1])
def test_killed_anywhere_and_in_any_order_it_comes_to_the_same(place, diverges):
    expected = outcome(run(place("whole"), diverges=diverges))
    assert (expected[1][1].name == "FAIL") == (diverges == 1)
    folder = place("killed")
    for order, steps in enumerate((0, 3, 1, 9, 5, 7, 4), start=1):
        with pytest.raises(Killed):
            run(folder, steps, diverges, order)
    assert outcome(run(folder, None, diverges, order=9)) == expected


def test_it_does_not_go_on_without_its_states(place):
    folder = place("begun")
    with pytest.raises(Killed):
        run(folder, 20)
    (folder / "populations").rename(folder / "elsewhere")
    with pytest.raises(PbtCheckpointError, match="--new-version"):
        run(folder)


def test_the_worst_copy_one_of_the_best():
    def fixed(*where):
        return random.Random(str(where))

    worth = {0: 0.5, 1: 0.1, 2: 0.9, 3: 0.1, 4: 0.7, 5: 0.8, 6: 0.6, 7: 0.2}
    found = select_sources(worth, 0.25, fixed, 5)
    assert sorted(found) == [1, 3]
    assert set(found.values()) <= {2, 5}
    assert sorted(select_sources({0: 1.0, 1: 1.0, 2: 1.0}, 0.25, fixed, 5)) == [2]
    assert select_sources({4: 1.0}, 0.5, fixed, 5) == {}


@pytest.mark.parametrize(
    ("parameter", "whole", "value", "expected"),
    [
        (RangeParameter(low=0.1, high=1.0), False, 0.5, {0.4, 0.6}),
        (RangeParameter(low=0.1, high=0.95), False, 0.9, {0.9 * 0.8, 0.95}),
        (RangeParameter(low=1, high=100), True, 50, {40, 60}),
        (RangeParameter(low=1, high=100), True, 2, {1, 3}),  # 1.6 and 2.4 are nearest to 2 itself
        (RangeParameter(low=0, high=4, step=0.5), False, 4.0, {3.0, 4.0}),
        (RangeParameter(low=0, high=4, step=0.5), False, 0.0, {0.0, 0.5}),
        (ChoiceParameter(choices=("a", "b", "c")), False, "b", {"a", "c"}),
        (ChoiceParameter(choices=("a", "b", "c")), False, "c", {"b"}),
        (ChoiceParameter(choices=("a",)), False, "a", {"a"}),
    ],
)
def test_perturbed_values(parameter, whole, value, expected):
    dimension = Dimension("p", parameter, SourceLocation("file"), whole)
    found = {perturb_value(dimension, value, random.Random(seed)) for seed in range(40)}
    assert found == expected
    assert all(dimension.contains(v) for v in found)


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (
            {"parameters": {"fusion.type": {"choices": ["concat", "sum"]}}},
            4,
            "which weights the model has",
        ),
        (
            {"parameters": {"optimizer.type": {"choices": ["sgd", "adam"]}}},
            4,
            "optimizer.type decides",
        ),
        (
            {"parameters": {"trainer.batch_size": {"low": 8, "high": 64}}},
            4,
            "trainer.batch_size",
        ),
        (
            {"parameters": {"method.window.first_epoch": {"low": 1, "high": 4}}},
            4,
            "method.window.first_epoch",
        ),
        ({"sampler": {"type": "grid"}}, 5, "a grid has no draws"),
        ({"trials": 3}, 6, "population of 4 or more"),
        ({"seeds_per_trial": 2}, 7, "a member has one seed"),
        ({"constraints": [{"metric": "time.epoch", "max": 1}]}, 7, "a bound on its whole training"),
        ({"objectives": [{"metric": "time.total"}]}, 7, "needs a metric val.*"),
    ],
)
def test_what_cannot_be_a_population_is_refused_at_its_line(tmp_path, change, line, words):
    parts = {
        "name": "wrong",
        "scheduler": {"type": "pbt"},
        "parameters": {"optimizer.lr": {"low": 0.01, "high": 0.1}},
        "sampler": {"type": "random"},
        "trials": 4,
    } | change
    head, (path, parameter) = (
        [f"{key}: {json.dumps(parts.pop(key))}" for key in ("name", "scheduler")],
        next(iter(parts.pop("parameters").items())),
    )
    lines = [*head, "parameters:", f"  {path}: {json.dumps(parameter)}"]
    file = tmp_path / "space.yaml"
    file.write_text(
        "\n".join([*lines, *(f"{key}: {json.dumps(value)}" for key, value in parts.items())])
    )
    with pytest.raises(ConfigError) as caught:
        load_search(file, "mfeat")
    assert any(p.source.line == line and words in p.message for p in caught.value.problems), (
        caught.value
    )


def test_a_task_whose_worker_died_before_it_began_is_not_waited_for(place):
    folder = place("driver")
    plan = load_search(SPACE)
    opened = open_search(
        plan, Database(f"sqlite:///{folder}/optuna.db"), folder / "populations", plan.name
    )
    store = MlflowStore(f"sqlite:///{folder}/mlflow.db")
    source = opened
    with (
        Session(store, folder / "checkpoints", lambda text: None) as session,
        Coordinator(session, StudyProgress(Console(quiet=True), 6, 42), [], [source]) as driver,
    ):
        task = driver.request_task(1)
        for _ in range(task.config.trainer.max_retries):
            driver.handle_worker_death(task, "killed", "")
            assert driver.request_task(1) is task
        driver.handle_worker_death(task, "killed", "")
        assert driver.request_task(1).trial_run.number == 1
        driver.handle_worker_death(task, "killed", "")  # it has ended
    assert [reason for _, reason in driver.summary.failed] == ["killed"]


def test_a_tag_that_is_cut_says_so():
    assert _truncate_tag("x" * TAG_LENGTH) == "x" * TAG_LENGTH
    cut = _truncate_tag("x" * (TAG_LENGTH + 1))
    assert len(cut) == TAG_LENGTH
    assert cut.endswith(CUT)


def test_a_study_cannot_tune_its_arms_with_it(tmp_path):
    study = tmp_path / "study.yaml"
    (tmp_path / "space.yaml").write_text(
        json.dumps({**{k: SPACE[k] for k in ("name", "parameters", "scheduler")}})
    )
    study.write_text(
        json.dumps(
            {
                "name": "s",
                "base": "mfeat",
                "design": {
                    "type": "arms",
                    "reference": "a",
                    "arms": {"a": {}, "b": {"optimizer.momentum": 0.5}},
                },
                "seeds": [0, 1],
                "tune": {"space": "space.yaml"},
            }
        )
    )
    with pytest.raises(ConfigError, match="a schedule of values"):
        load_plan(study)


@pytest.mark.slow
def test_members_are_single_runs_that_say_what_was_changed(cli):
    space = {**SPACE, "overrides": {"trainer.epochs": 5}, "trials": 4}
    cli.write("space.yaml", json.dumps(space))
    answer = cli.study("tune", "space.yaml")
    assert answer.code == 0, answer.err
    assert not list((cli.folder / "checkpoints").glob("*/populations/*"))
    database = sqlite3.connect(cli.folder / "mlflow.db")
    tags: dict[str, dict[str, str]] = {}
    for uuid, key, value in database.execute("select run_uuid, key, value from tags"):
        tags.setdefault(uuid, {})[key] = value
    members = {uuid: t for uuid, t in tags.items() if t.get("ibml.kind") == "trial"}
    assert sorted(t["ibml.trial"] for t in members.values()) == ["0", "1", "2", "3"]
    assert sum("ibml.changes" in t for t in members.values()) >= 1
    for uuid, t in members.items():
        rows = database.execute(
            "select step, key, value from metrics where run_uuid = ? order by step", (uuid,)
        )
        rates: dict[str, list[float]] = {}
        for _, key, value in rows:
            rates.setdefault(key, []).append(value)
        assert len(rates["value.optimizer.lr"]) == 5
        assert rates["value.optimizer.lr"] == pytest.approx(rates["lr"])
        start = database.execute(
            "select value from params where run_uuid = ? and key = 'optimizer.lr'", (uuid,)
        )
        assert math.isclose(float(start.fetchone()[0]), rates["lr"][0])
        for change in json.loads(t.get("ibml.changes", "[]")):
            assert rates["lr"][change["epoch"]] == pytest.approx(change["values"]["optimizer.lr"])
    assert "## Schedule" in (cli.folder / "reports/population/report.md").read_text()
    assert "LAST values" in (cli.folder / "reports/population/best.yaml").read_text()
