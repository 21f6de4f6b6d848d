"""Seeds until every arm is decided: trials planned from results, and a whole study."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ibml.config.study.seeds import AdaptiveSeeds
from ibml.records import TrialRecord, Tuning
from ibml.report.tables.render import render
from ibml.report.tables.results import Results
from ibml.report.tables.table import build_table
from ibml.study.planning.plan import Plan, load_plan
from ibml.study.planning.seed_schedule import SeedSchedule
from ibml.study.planning.trials import TrialSpec
from tests.conftest import CommandLine
from tests.support.records import results, study

STUDY: dict[str, Any] = {
    "name": "adaptive",
    "base": "mfeat",
    "design": {
        "type": "arms",
        "reference": "ref",
        "arms": {"ref": {}, "far": {"trainer.batch_size": 32}, "near": {"trainer.batch_size": 16}},
    },
    "seeds": {"min": 3, "max": 8, "metric": "test.accuracy"},
    "table": {"metrics": ["test.accuracy", "test.gap"]},
}


def value_of(arm: str, seed: int) -> float:
    noise = np.random.default_rng([seed, len(arm), ord(arm[0])]).normal(0, 0.01)
    return {"ref": 0.9, "far": 0.99, "near": 0.9}[arm] + noise


def run_through(
    plan: Plan, pick: Callable[[list[TrialSpec]], int], fails: set[tuple[str, int]] = frozenset()
) -> dict[str, list[int]]:
    """Arm -> seeds that were run, where trials end in the order that `pick` says."""
    schedule = SeedSchedule(plan)
    waiting = schedule.open(plan.cells)
    run: dict[str, list[int]] = {}
    while waiting:
        trial = waiting.pop(pick(waiting))
        arm, seed = trial.cell.arm, trial.config.seed
        run.setdefault(arm, []).append(seed)
        metrics = (
            None
            if (arm, seed) in fails
            else {"test.accuracy": value_of(arm, seed), "test.gap": 0.1}
        )
        waiting += schedule.ended(trial, metrics)
    return {arm: sorted(seeds) for arm, seeds in run.items()}


def test_a_decided_arm_gets_no_more_seeds_and_the_reference_goes_on() -> None:
    run = run_through(load_plan(STUDY), lambda waiting: 0)
    assert run["ref"] == run["near"] == list(range(8))
    assert 3 <= len(run["far"]) < 8
    assert run["far"] == list(range(len(run["far"])))


def test_the_trials_do_not_depend_on_the_order_of_results() -> None:
    plan = load_plan(STUDY)
    expected = run_through(plan, lambda waiting: 0)
    for seed in range(5):
        generator = random.Random(seed)
        assert (
            run_through(plan, lambda waiting, draw=generator: draw.randrange(len(waiting)))
            == expected
        )


def test_failed_trials_hold_nothing_up() -> None:
    run = run_through(load_plan(STUDY), lambda waiting: -1, {("ref", 1), ("near", 4)})
    assert run["ref"] == list(range(8))


def test_arms_that_become_known_later_get_their_seeds_then() -> None:
    plan = load_plan(STUDY)
    schedule = SeedSchedule(plan)
    first = schedule.open([cell for cell in plan.cells if cell.arm != "far"])
    assert [(t.cell.arm, t.config.seed) for t in first[:3]] == [
        ("ref", 0),
        ("near", 0),
        ("ref", 1),
    ]
    assert all(not schedule.ended(t, {"test.accuracy": 0.9 + t.config.seed / 100}) for t in first)
    later = schedule.open([cell for cell in plan.cells if cell.arm == "far"])
    assert [t.config.seed for t in later] == [0, 1, 2]
    *_, last = (schedule.ended(t, {"test.accuracy": value_of("far", t.config.seed)}) for t in later)
    assert {t.config.seed for t in last} == {3}


def test_seeds_that_are_fixed_follow_from_nothing() -> None:
    plan = load_plan({**STUDY, "seeds": 2})
    schedule = SeedSchedule(plan)
    trials = schedule.open(plan.cells)
    assert len(trials) == 6
    assert schedule.ended(trials[0], {"test.accuracy": 0.5}) == []


ARMS = {
    "ref": [0.900, 0.912, 0.905, 0.921, 0.908, 0.917],
    "far": [0.990, 0.998, 0.996, 0.999, 0.997, 0.998],
    "near": [0.901, 0.910, 0.906, 0.920, 0.909, 0.915],
}


def adaptive_record():
    return study(ARMS, adaptive=AdaptiveSeeds(min=3, max=6))


def test_the_table_takes_the_seeds_that_the_decisions_took() -> None:
    record = adaptive_record()
    found = results(record, ARMS)
    table = build_table(record, found)
    far, near = (table.get_cell("d", arm, "test.accuracy") for arm in ("far", "near"))
    stopped = Results(record, found).looks["d"].decided["far"].seeds
    assert stopped < 6
    assert far.summary.n == far.difference.n == stopped, "later seeds of the store do not count"
    assert near.summary.n == table.get_cell("d", "ref", "test.accuracy").summary.n == 6
    assert (far.difference.verdict, near.difference.verdict) == ("helps", "no effect detected")
    assert far.difference.p <= far.level
    assert table.get_cell("d", "far", "test.gap").difference.verdict == "helps", (
        "tested at the same look"
    )
    assert table.unfinished == 0
    foot = "\n".join(table.notes)
    assert f"Early stop, whose estimates tend to be too large: seeds {stopped} (far)." in foot
    assert (
        "Seeds were added until an arm was decided by test.accuracy, 3 at least and 6 at most"
        in foot
    )
    assert "level" in render(table, "text")


def test_failed_trials_and_arms_without_a_best_hold_no_look_up() -> None:
    record = adaptive_record()
    found = results(record, ARMS)
    for seed in range(6):
        found[f"d/near/{seed}"] = TrialRecord(
            f"d/near/{seed}", f"r{seed}", "failed", {}, "RuntimeError('x')"
        )
    table = build_table(record, found)
    assert table.get_cell("d", "far", "test.accuracy").difference.verdict == "helps"
    assert "Failed: 6 of" in "\n".join(table.notes)
    tuning = (Tuning(arm="near", dataset="d", search="s", exhausted=True),)
    lost = record.model_copy(update={"tuning": tuning})
    kept = {key: value for key, value in found.items() if "near" not in key}
    table = build_table(lost, kept)
    assert table.get_cell("d", "far", "test.accuracy").difference.verdict == "helps"
    assert "no proposal of the search of near was complete" in "\n".join(table.notes)


def test_an_arm_that_cannot_be_run_is_not_waited_for() -> None:
    plan = load_plan(STUDY)
    schedule = SeedSchedule(plan)
    first = schedule.open([cell for cell in plan.cells if cell.arm != "near"])
    assert [
        len(schedule.ended(t, {"test.accuracy": value_of(t.cell.arm, t.config.seed)}))
        for t in first
    ] == [0] * 6
    more = schedule.drop(next(cell for cell in plan.cells if cell.arm == "near"))
    assert {(t.cell.arm, t.config.seed) for t in more} == {("ref", 3), ("far", 3)}


def test_an_adaptive_study_that_is_under_way_waits_for_its_next_look() -> None:
    record = adaptive_record()
    found = {
        key: value
        for key, value in results(record, ARMS).items()
        if int(key[-1]) < 3 and key != "d/near/2"
    }
    table = build_table(record, found)
    assert table.unfinished == 1
    assert table.get_cell("d", "near", "test.accuracy").difference.verdict == "undecided so far"
    assert "Not all looks could be made yet." in "\n".join(table.notes)
    assert "Not run: 1 of 9 trials (near 1)." in "\n".join(table.notes)


REAL = """\
name: decided
base: mfeat
overrides: {trainer.epochs: 3}
design:
  type: cumulative
  components:
    BIO: {method.bio.weight: 0}
    TCM: {method.tcm.rate: 0}
seeds: {min: 3, max: 5, metric: test.accuracy.zer}
table: {metrics: [test.accuracy.zer, test.gap]}
"""


@pytest.mark.slow
def test_a_study_adds_seeds_until_its_arms_are_decided(cli: CommandLine) -> None:
    file = str(cli.write("decided.yaml", REAL))
    dry = cli.inside("ablate", file, "--dry-run").out
    assert "9 to 15 trials (3 arms × 3 to 5 seeds), 27 to 45 epochs" in dry
    first = cli.study("ablate", file)
    assert first.code == 0, first.err
    table = cli.inside("table", "decided").out
    shares = [line.split() for line in table.splitlines() if line.startswith(" + BIO")]
    assert [row[-1] for row in shares if "helps" in row] == ["helps"] * 6, (
        "two metrics of two arms and of BIO's gain"
    )
    assert "Early stop" in table
    again = cli.study("ablate", file)
    assert "trials have a result already and are not run again." in again.out
    assert "done" not in again.out
    assert cli.inside("table", "decided").out == table
