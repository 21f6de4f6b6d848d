"""Searches by ask and tell: totals, resumption, seeds, and stopped and failed trials."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from ibml.search.database import BEGUN, Database, SearchDatabaseError
from ibml.search.search import Search
from ibml.search.trial_attributes import EPOCHS, REASON, read_seed_values
from tests.support.searches import BIO, FUSION, LR, Lab, accuracy, plan_of, rows_of, train

SPACE = LR | BIO | FUSION
SAMPLERS = [
    {"type": "tpe", "startup_trials": 4},
    {"type": "gp", "startup_trials": 4},
    {"type": "cmaes"},
    {"type": "qmc"},
    {"type": "qmc", "sequence": "halton", "scramble": False},
    {"type": "random"},
    {"type": "nsga2", "population": 4},
    {"type": "nsga3", "population": 4},
]


def outline(search: Search) -> list[tuple[object, ...]]:
    return [
        (t.number, t.state, t.params, t.values, t.intermediate_values) for t in search.list_trials()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: "-".join(map(str, s.values())))
def test_a_search_that_is_cut_off_proposes_what_it_would_have(
    lab: Lab, sampler: dict[str, object]
) -> None:
    plan = plan_of(SPACE, sampler=sampler, trials=10, scheduler={"type": "asha", "grace_epochs": 2})
    whole = outline(lab.run(lab.open(plan, name="whole")))
    for stop in (0, 3, 5, 1):
        search = lab.run(lab.open(plan, name="cut"), stop)
        if trial_run := search.next():  # begun, and some of it reported
            search.report(trial_run, rows_of(trial_run)[:2])
    assert outline(lab.run(lab.open(plan, name="cut"))) == whole
    assert len(whole) == 10
    assert len({repr(params) for _, _, params, *_ in whole}) > 5  # genetic ones may repeat a parent


class Killed(BaseException):
    """Exception in place of the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: "-".join(map(str, s.values())))
def test_a_search_that_is_killed_at_any_write_proposes_what_it_would_have(
    lab: Lab, sampler: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(SPACE, sampler=sampler, trials=7, overrides={"trainer.epochs": 2})
    whole = outline(lab.run(lab.open(plan, name="whole")))
    storage = lab.database.storage
    writes = ["set_trial_param", "set_trial_user_attr", "set_trial_state_values"]
    if sampler["type"] not in (
        "gp",
        "qmc",
    ):  # these note their own draw in the study a moment before it is kept
        writes.append("set_trial_system_attr")
    left = [0]

    def deadly(write):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return write(*arguments, **options)

        return call

    for name in writes:
        monkeypatch.setattr(storage, name, deadly(getattr(storage, name)))
    kills = 0
    while True:
        left[0] = 3 + 2 * kills % 7
        try:
            search = lab.run(lab.open(plan, name="cut"))
            break
        except Killed:
            kills += 1
    left[0] = -1
    assert kills > 5
    assert outline(search) == whole


def test_other_seeds_of_a_sampler_propose_other_values(lab: Lab) -> None:
    first, second = (
        lab.run(
            lab.open(
                plan_of(LR, trials=3, sampler={"type": "random", "seed": seed}), name=f"{seed}"
            )
        )
        for seed in (0, 1)
    )
    assert [t.params for t in first.list_trials()] != [t.params for t in second.list_trials()]


def test_a_partly_written_proposal_is_completed_as_it_was_meant(lab: Lab) -> None:
    plan = plan_of(SPACE, sampler={"type": "random"}, trials=3)
    whole = outline(lab.run(lab.open(plan, name="whole")))
    study = lab.open(plan, name="cut").study
    study.ask()  # killed before any parameter was drawn
    assert outline(lab.run(lab.open(plan, name="cut"))) == whole


def test_the_total_is_a_total_and_can_be_raised(lab: Lab) -> None:
    lab.run(lab.open(plan_of(LR, trials=4)))
    assert lab.open(plan_of(LR, trials=4)).next() is None
    assert lab.open(plan_of(LR, trials=4)).done
    search = lab.run(lab.open(plan_of(LR, trials=6)))
    assert [t.number for t in search.list_trials()] == list(range(6))
    assert lab.open(plan_of(LR, trials=3)).done


def test_a_grid_is_walked_once(lab: Lab) -> None:
    space = FUSION | {"method.bio.weight": {"low": 0, "high": 1, "step": 0.5}}
    search = lab.run(lab.open(plan_of(space, sampler={"type": "grid"}, trials=99)))
    tried = [tuple(sorted(t.params.items())) for t in search.list_trials()]
    assert len(tried) == len(set(tried)) == 15


def test_what_is_started_from_comes_first(lab: Lab) -> None:
    plan = plan_of(LR | BIO, trials=3, start_from=["paper", {"method.bio.weight": 3}])
    for _ in range(2):
        search = lab.open(plan)
    lab.run(search)
    first, second, _ = search.list_trials()
    assert first.params == {"optimizer.lr": 0.01, "method.bio.weight": 1.0}
    assert second.params["method.bio.weight"] == 3


def test_stopped_trials_are_pruned_with_what_they_reported(lab: Lab) -> None:
    plan = plan_of(
        LR, trials=12, scheduler={"type": "asha", "grace_epochs": 2, "reduction_factor": 3}
    )
    search = lab.run(lab.open(plan))
    pruned = [t for t in search.list_trials() if t.state == TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        assert set(trial.intermediate_values) in ({1, 2}, {1, 2, 3, 4, 5, 6})
        assert "by asha" in trial.user_attrs[REASON]
    complete = [t for t in search.list_trials() if t.state == TrialState.COMPLETE]
    assert all(len(t.intermediate_values) == 10 for t in complete)
    assert len(pruned) + len(complete) == 12


def test_the_value_is_that_of_the_selected_epoch(lab: Lab) -> None:
    search = lab.open(plan_of(LR, trials=1))
    trial_run = search.next()
    assert trial_run
    rows = rows_of(trial_run, lambda trial_run, epoch: 0.9 if epoch == 3 else 0.5)
    search.report(trial_run, rows)
    search.end(trial_run, "finished", {"time.total": 2.0})
    (trial,) = search.list_trials()
    assert trial.values == [0.9]
    assert list(trial.intermediate_values.values()) == [0.5] * 3 + [0.9] * 7


@pytest.mark.parametrize(
    ("told", "state"), [("failed", TrialState.FAIL), ("worst", TrialState.COMPLETE)]
)
def test_a_diverged_trial_is_failed_or_worst_and_never_best(
    lab: Lab, told: str, state: TrialState
) -> None:
    search = lab.open(plan_of(LR, trials=2, diverged=told, sampler={"type": "random"}))
    trial_run = search.next()
    assert trial_run
    rows = rows_of(trial_run)[:3]
    search.report(
        trial_run, [*rows, {**rows[-1], "epoch": 3.0, "val.accuracy": 0.99, "val.loss": math.nan}]
    )
    search.end(trial_run, "diverged", {}, "val.loss was nan in epoch 3")
    lab.run(search)
    first = search.list_trials()[0]
    assert first.state == state
    assert first.values in (None, [0.0])
    assert 0.99 not in first.intermediate_values.values()
    assert "diverged" in first.user_attrs[REASON]
    assert search.best
    assert search.best.number == 1
    assert first.user_attrs[EPOCHS] == 4


def test_a_failed_trial_counts(lab: Lab) -> None:
    search = lab.open(plan_of(LR, trials=2))
    trial_run = search.next()
    assert trial_run
    search.end(trial_run, "failed", {}, "out of memory")
    lab.run(search)
    assert [t.state for t in search.list_trials()] == [TrialState.FAIL, TrialState.COMPLETE]
    assert search.done


def test_the_mean_over_seeds_is_told(lab: Lab) -> None:
    search = lab.run(lab.open(plan_of(LR, trials=3, seeds_per_trial=3)))
    for trial in search.list_trials():
        values = [seed["val.accuracy"] for seed in read_seed_values(trial)]
        assert len(set(values)) == 3
        assert trial.values == [pytest.approx(sum(values) / 3)]
        assert set(trial.intermediate_values) == {*range(1, 11), 20}


def test_unpromising_proposals_are_stopped_after_their_first_seeds(lab: Lab) -> None:
    scheduler = {"type": "asha", "grace_epochs": 10, "reduction_factor": 2}
    plan = plan_of(LR, trials=8, seeds_per_trial=4, scheduler=scheduler)
    search = lab.run(lab.open(plan))
    tried = {t.number: len(read_seed_values(t)) for t in search.list_trials()}
    assert set(tried.values()) == {1, 2, 4}
    assert all(
        t.state == (TrialState.COMPLETE if tried[t.number] == 4 else TrialState.PRUNED)
        for t in search.list_trials()
    )


def test_seeds_that_are_done_are_not_trained_again(lab: Lab) -> None:
    plan = plan_of(LR, trials=2, seeds_per_trial=3)
    lab.run(lab.open(plan), 2)
    trial_run = lab.open(plan).next()
    assert trial_run
    assert (trial_run.number, trial_run.position, trial_run.config.seed) == (0, 2, plan.seeds[2])


def test_several_objectives_and_constraints(lab: Lab) -> None:
    plan = plan_of(
        LR | BIO,
        objectives=[{"metric": "val.accuracy"}, {"metric": "val.gap"}],
        constraints=[{"metric": "val.gap", "max": 0.35}],
        sampler={"type": "nsga2", "population": 5},
        trials=15,
    )
    search = lab.run(lab.open(plan))
    directions = [d.name for d in search.study.directions]
    assert directions == ["MAXIMIZE", "MINIMIZE"]
    assert all(set(t.constraints) == {"val.gap max"} for t in search.list_trials())
    fine = [t for t in search.list_trials() if t.values[1] <= 0.35]
    assert search.best
    assert search.best.values[0] == max(t.values[0] for t in fine)
    assert {t.number for t in search.study.best_trials} <= {t.number for t in fine}


@pytest.mark.slow
def test_a_diverged_trial_is_within_no_constraint(lab: Lab) -> None:
    constraints = [{"metric": "val.gap", "max": 0.9}, {"metric": "time.epoch", "max": 1, "min": 0}]
    plan = plan_of(
        LR,
        trials=14,
        diverged="worst",
        constraints=constraints,
        sampler={"type": "gp", "startup_trials": 3},
    )
    search = lab.open(plan)
    trial_run = search.next()
    assert trial_run
    search.end(trial_run, "diverged", {}, "val.loss was nan")
    first = search.list_trials()[0]
    assert set(first.constraints) == {"val.gap max", "time.epoch max", "time.epoch min"}
    assert min(first.constraints.values()) > 0
    lab.run(search)
    assert search.best
    assert search.best.number > 0


def test_many_at_once_go_to_the_same_total(lab: Lab) -> None:
    search = lab.open(plan_of(LR, trials=7, concurrency=3))
    flying = [search.next() for _ in range(4)]
    assert flying.pop() is None
    while flying:
        trial_run = flying.pop(0)
        assert trial_run
        train(search, trial_run)
        if another := search.next():
            flying.append(another)
    assert search.done
    assert len(search.list_trials()) == 7


def test_a_changed_space_is_refused_with_the_difference(lab: Lab) -> None:
    lab.run(lab.open(plan_of(LR, trials=2)))
    wider = plan_of({"optimizer.lr": {"low": 1e-4, "high": 1, "log": True}}, trials=2)
    with pytest.raises(
        SearchDatabaseError, match=r"parameters.optimizer.lr.high: 0.1 -> 1\n"
    ) as caught:
        lab.open(wider)
    assert "--new-version" in str(caught.value)
    assert lab.open(wider, new_version=True).name == "demo v2"
    assert lab.open(wider).name == "demo v2"  # the default version from now on
    assert lab.open(plan_of(LR, trials=2)).name == "demo"


def test_a_study_of_others_is_not_touched(lab: Lab) -> None:
    study = optuna.create_study(study_name="demo", storage=lab.database.storage)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(SearchDatabaseError, match="a study 'demo'"):
        lab.open(plan_of(LR))


def test_a_search_that_was_cut_off_while_it_was_made_is_made(lab: Lab) -> None:
    study = optuna.create_study(
        study_name="demo", storage=lab.database.storage, direction="maximize"
    )
    study.set_user_attr(BEGUN, value=True)
    study.enqueue_trial({"optimizer.lr": 7.0})
    assert len(lab.run(lab.open(plan_of(LR, trials=2))).list_trials()) == 2


def test_a_search_that_was_cut_off_before_its_mark_is_made(lab: Lab) -> None:
    optuna.create_study(study_name="demo", storage=lab.database.storage, direction="maximize")
    assert len(lab.run(lab.open(plan_of(LR, trials=2))).list_trials()) == 2


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_study_of_other_origin_is_never_replaced(lab: Lab, direction: str) -> None:
    """Optuna's users may have prepared one with the trials that they want, or with notes."""
    study = optuna.create_study(
        study_name="demo", storage=lab.database.storage, direction=direction
    )
    study.enqueue_trial({"lr": 7.0})
    with pytest.raises(SearchDatabaseError, match="a study 'demo'"):
        lab.open(plan_of(LR, trials=2))
    kept = optuna.load_study(study_name="demo", storage=lab.database.storage)
    assert [trial.system_attrs["fixed_params"] for trial in kept.get_trials()] == [{"lr": 7.0}]


def test_databases_that_cannot_be_used_are_named_without_passwords(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 100)
    nowhere = tmp_path / "nowhere" / "optuna.db"
    for url, words in [
        (f"sqlite:///{tmp_path / 'text.db'}", "file is not a database"),
        (f"sqlite:///{nowhere}", "unable to open database file"),
        ("postgresql://me:secret@127.0.0.1:1/none", "127.0.0.1"),
        ("nonsense", "nonsense"),
    ]:
        with pytest.raises(SearchDatabaseError, match=words) as caught:
            Database(url).find("demo")
        assert "secret" not in str(caught.value)


def test_simulated_trials_differ_by_seed() -> None:
    plan = plan_of(LR)
    config, _ = plan.space.build_config({"optimizer.lr": 0.01})
    assert config
    values = {
        accuracy(type("A", (), {"config": config.model_copy(update={"seed": s})})(), 9)
        for s in range(3)
    }
    assert len(values) == 3


def test_a_locked_database_is_said_and_nothing_is_lost(
    tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(LR, trials=4)
    lab.run(lab.open(plan), 2)
    monkeypatch.setattr("ibml.search.database.LOCK_SECONDS", 0.2)
    other = sqlite3.connect(tmp_path / "optuna.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SearchDatabaseError, match="database is locked") as caught:
        Lab(tmp_path).open(plan)
    assert "SELECT" not in str(caught.value)
    other.execute("ROLLBACK")
    other.close()
    assert [t.number for t in lab.run(Lab(tmp_path).open(plan)).list_trials()] == [0, 1, 2, 3]


def test_a_database_of_an_older_schema_is_said(tmp_path: Path, lab: Lab) -> None:
    lab.run(lab.open(plan_of(LR, trials=1)))
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'v1.3.0.a'")
    with pytest.raises(SearchDatabaseError, match="optuna storage upgrade"):
        Lab(tmp_path).open(plan_of(LR))
