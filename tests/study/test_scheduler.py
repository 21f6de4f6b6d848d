"""The scheduler: whose turn it is, keys that are trained once, workers that are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibml import data
from ibml.search.trial_runs import TrialRun
from ibml.study.engine.retry import Fault
from ibml.study.engine.scheduler import Scheduler
from ibml.study.engine.tasks import PriorResult, SearchSource, TrialTask
from ibml.study.planning.cells import Cell
from ibml.study.planning.keys import compute_trial_key
from ibml.study.planning.trials import TrialSpec
from tests.support.scheduling import Desk, Source
from tests.support.searches import LR, Lab, plan_of, rows_of

KILLED = Fault("killed", "")
FINAL = {"time.total": 1.0}


def task(
    source: SearchSource | None, trial_run: TrialRun | None, seed: int = 0, lr: float = 0.01
) -> TrialTask:
    config = (
        trial_run.config if trial_run else plan_of(LR).space.base.model_copy(update={"seed": seed})
    )
    if trial_run is None:
        config = config.model_copy(
            update={"optimizer": config.optimizer.model_copy(update={"lr": lr})}
        )
    fingerprint = data.fingerprint(config.data)
    trial = TrialSpec(
        Cell("mfeat", "arm", config, {}),
        config,
        compute_trial_key(config, fingerprint),
        fingerprint,
        "trial",
    )
    return TrialTask(trial, None, {}, source, trial_run)


def finish(desk: Desk, task: TrialTask) -> None:
    rows = rows_of(task.trial_run) if task.trial_run else []
    desk.scheduler.report(task, rows)
    desk.end(task, "finished", FINAL)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def sources(lab: Lab, *sizes: int) -> list[Source]:
    made = []
    for index, size in enumerate(sizes):
        plan = plan_of(LR, trials=size, sampler={"type": "random", "seed": index})
        made.append(Source(lab.open(plan, name=f"arm {index}"), task))
    return made


def test_searches_take_turns_and_trials_follow_those_that_are_done(lab: Lab) -> None:
    first, second = sources(lab, 2, 2)
    follow = task(None, None, seed=5)
    scheduler = Scheduler([task(None, None)], [first, second])
    desk = Desk(scheduler, after_search=lambda search: [follow] if search is first.search else [])
    scheduler.share_slots(2)
    order = []
    while not desk.scheduler.is_done:
        if (current := desk.next()) is not None:
            order.append(
                "planned"
                if current.source is None
                else "first"
                if current.source is first
                else "second"
            )
            finish(desk, current)
    assert order == ["first", "second", "first", "second", "planned", "planned"]


def test_a_key_that_is_planned_twice_is_trained_once() -> None:
    first, twin, other = task(None, None), task(None, None), task(None, None, seed=1)
    desk = Desk(Scheduler([first, twin, other]))
    assert [desk.next(), desk.next()] == [first, other], "the twin waits for its key"
    finish(desk, first)
    finish(desk, other)
    assert desk.next() is None
    assert desk.scheduler.is_done
    assert desk.reused == [twin]


def test_planned_trials_may_follow_from_results() -> None:
    seen: list[tuple[TrialTask, str, float]] = []
    later = task(None, None, seed=9)

    def follow(ended: TrialTask, ending: str, final: dict[str, float]) -> list[TrialTask]:
        seen.append((ended, ending, final["time.total"]))
        return [later] if len(seen) == 1 else []

    desk = Desk(Scheduler([task(None, None)]), after_trial=follow)
    begun = desk.next()
    finish(desk, begun)
    assert not desk.scheduler.is_done
    assert desk.next() is later
    finish(desk, later)
    assert desk.scheduler.is_done
    assert seen == [(begun, "finished", 1.0), (later, "finished", 1.0)]


def test_workers_are_shared_out_among_searches(lab: Lab) -> None:
    desk = Desk(Scheduler([], sources(lab, 9, 9, 9)))
    desk.scheduler.share_slots(6)
    flying = [desk.next() for _ in range(6)]
    assert all(flying)
    assert desk.next() is None
    assert {source.search.concurrency for source in desk.scheduler.sources} == {2}


def test_planned_trials_do_not_stand_in_the_way_of_proposals(lab: Lab) -> None:
    desk = Desk(Scheduler([task(None, None)], sources(lab, 1)))
    desk.scheduler.share_slots(1)
    first = desk.next(room=True)
    assert first
    assert first.source
    assert desk.next(room=False) is None
    assert desk.next(room=True) is not None


def test_a_key_is_trained_by_one_task_at_a_time_and_once() -> None:
    twins = [task(None, None), task(None, None), task(None, None, lr=0.5)]
    desk = Desk(Scheduler(twins))
    first, other = desk.next(), desk.next()
    assert (first, other) == (twins[0], twins[2])
    assert desk.next() is None
    assert first
    desk.end(first, "failed", {}, "broken")
    assert desk.next() is twins[1]  # the first one's failure says nothing of the second


def test_equal_proposals_are_trained_once(lab: Lab) -> None:
    space = {"optimizer.momentum": {"choices": [0.5, 0.9]}}
    plan = plan_of(space, trials=6, sampler={"type": "random"}, concurrency=2)
    desk = Desk(Scheduler([], [Source(lab.open(plan), task)]))
    trained = 0
    while not desk.scheduler.is_done:
        flying = [t for t in (desk.next(), desk.next()) if t]
        for current in flying:
            trained += 1
            finish(desk, current)
    assert (trained, len(desk.reused)) == (2, 4)
    assert len(desk.scheduler.sources[0].search.list_trials()) == 6
    assert len({t.values[0] for t in desk.scheduler.sources[0].search.list_trials()}) <= 2


def test_what_the_store_has_is_told_to_the_search_and_not_trained(lab: Lab) -> None:
    (source,) = sources(lab, 2)

    def past(task: TrialTask) -> PriorResult | None:
        assert task.trial_run
        return PriorResult(rows_of(task.trial_run), "finished", FINAL)

    desk = Desk(Scheduler([], [source]), past)
    assert desk.next() is None
    assert desk.scheduler.is_done
    assert len(desk.reused) == 2
    assert all(len(t.intermediate_values) == 10 for t in source.search.list_trials())


def test_half_of_a_run_is_trained_again_unless_it_was_to_be_stopped(lab: Lab) -> None:
    (source,) = sources(lab, 1)
    desk = Desk(Scheduler([], [source]), lambda task: PriorResult(rows_of(task.trial_run)[:4]))  # type: ignore[arg-type]
    current = desk.next()
    assert current
    finish(desk, current)
    (trial,) = source.search.list_trials()
    assert len(trial.intermediate_values) == 10


def test_a_lost_trial_of_a_search_is_begun_again_but_not_for_ever(lab: Lab) -> None:
    (source,) = sources(lab, 1)
    desk = Desk(Scheduler([], [source]))
    retries = source.search.space.base.trainer.max_retries
    for _ in range(retries):
        current = desk.next()
        assert current
        desk.scheduler.report(current, rows_of(current.trial_run)[:3])  # type: ignore[arg-type]
        assert desk.scheduler.retry(current, KILLED)
    last = desk.next()
    assert last
    assert not desk.scheduler.retry(last, KILLED)
    desk.end(last, "failed", {}, "its worker died")
    assert desk.next() is None
    assert desk.scheduler.is_done


def test_an_exception_that_comes_again_in_the_same_epoch_is_not_tried_for_ever() -> None:
    desk = Desk(Scheduler([task(None, None)]))
    for epoch, goes_on in ((3, True), (5, True), (5, False)):
        current = desk.next()
        assert current
        assert desk.scheduler.retry(current, Fault("ValueError()", "trace", epoch)) == goes_on
        if not goes_on:
            desk.end(current, "failed", {}, "ValueError()")
    assert desk.scheduler.is_done


def test_a_trial_of_another_driver_is_waited_for_and_its_result_taken() -> None:
    results: dict[str, PriorResult] = {}
    desk = Desk(
        Scheduler([task(None, None, seed=1), task(None, None, seed=2)]),
        past=lambda task: results.get(task.key),
        claim=lambda task: task.config.seed == 2,
    )
    mine = desk.next()
    assert mine
    assert mine.config.seed == 2
    finish(desk, mine)
    assert desk.next() is None
    assert not desk.scheduler.is_done
    (theirs,) = desk.scheduler.deferred_tasks
    desk.scheduler.reconsider([theirs])
    assert desk.next() is None
    assert desk.scheduler.deferred_tasks == [theirs], "it is still the other's"
    results[theirs.key] = PriorResult([], "finished")
    desk.scheduler.reconsider([theirs])
    assert desk.next() is None
    assert desk.reused == [theirs]
    assert desk.scheduler.is_done
