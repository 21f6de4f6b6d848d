"""The queue: whose turn it is, keys that are trained once, workers that are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibml import data
from ibml.search.attempts import Attempt
from ibml.study.engine.retry import Fault
from ibml.study.engine.scheduler import Past, SearchSource, Task, TrialQueue
from ibml.study.planning.cells import Cell
from ibml.study.planning.keys import trial_key
from ibml.study.planning.trials import TrialSpec
from tests.search.conftest import LR, Lab, plan_of, rows_of

KILLED = Fault("killed", "")
FINAL = {"time.total": 1.0}


def task(source: SearchSource | None, attempt: Attempt | None, seed: int = 0, lr: float = 0.01) -> Task:
    config = attempt.config if attempt else plan_of(LR).space.base.model_copy(update={"seed": seed})
    if attempt is None:
        config = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"lr": lr})})
    fingerprint = data.fingerprint(config.data)
    trial = TrialSpec(Cell("mfeat", "arm", config, {}), config, trial_key(config, fingerprint), fingerprint, "trial")
    return Task(trial, None, {}, source, attempt)


def finish(queue: TrialQueue, task: Task) -> None:
    rows = rows_of(task.attempt) if task.attempt else []
    queue.report(task, rows)
    queue.end(task, "finished", FINAL)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def sources(lab: Lab, *sizes: int) -> list[SearchSource]:
    made = []
    for index, size in enumerate(sizes):
        plan = plan_of(LR, trials=size, sampler={"type": "random", "seed": index})
        made.append(SearchSource(lab.open(plan, name=f"arm {index}"), task))
    return made


def test_searches_take_turns_and_trials_follow_those_that_are_done(lab: Lab) -> None:
    first, second = sources(lab, 2, 2)
    follow = task(None, None, seed=5)
    first.when_done = lambda search: [follow]
    queue = TrialQueue([task(None, None)], [first, second])
    queue.share_out(2)
    order = []
    while not queue.done:
        if (current := queue.next()) is not None:
            order.append("planned" if current.source is None else "first" if current.source is first else "second")
            finish(queue, current)
    assert order == ["first", "second", "first", "second", "planned", "planned"]


def test_a_key_that_is_planned_twice_is_trained_once() -> None:
    reused: list[Task] = []
    first, twin, other = task(None, None), task(None, None), task(None, None, seed=1)
    queue = TrialQueue([first, twin, other], reused=reused.append)
    assert [queue.next(), queue.next()] == [first, other], "the twin waits for its key"
    finish(queue, first)
    finish(queue, other)
    assert queue.next() is None
    assert queue.done
    assert reused == [twin]


def test_planned_trials_may_follow_from_results() -> None:
    seen: list[tuple[Task, str, float]] = []
    later = task(None, None, seed=9)

    def follow(ended: Task, ending: str, final: dict[str, float]) -> list[Task]:
        seen.append((ended, ending, final["time.total"]))
        return [later] if len(seen) == 1 else []

    queue = TrialQueue([task(None, None)], follow=follow)
    begun = queue.next()
    finish(queue, begun)
    assert not queue.done
    assert queue.next() is later
    finish(queue, later)
    assert queue.done
    assert seen == [(begun, "finished", 1.0), (later, "finished", 1.0)]


def test_workers_are_shared_out_among_searches(lab: Lab) -> None:
    queue = TrialQueue([], sources(lab, 9, 9, 9))
    queue.share_out(6)
    flying = [queue.next() for _ in range(6)]
    assert all(flying)
    assert queue.next() is None
    assert {source.search.concurrency for source in queue.searches} == {2}


def test_planned_trials_do_not_stand_in_the_way_of_proposals(lab: Lab) -> None:
    queue = TrialQueue([task(None, None)], sources(lab, 1))
    queue.share_out(1)
    first = queue.next(room=True)
    assert first
    assert first.source
    assert queue.next(room=False) is None
    assert queue.next(room=True) is not None


def test_a_key_is_trained_by_one_task_at_a_time_and_once() -> None:
    reused: list[Task] = []
    twins = [task(None, None), task(None, None), task(None, None, lr=0.5)]
    queue = TrialQueue(twins, (), lambda task: None, reused.append)
    first, other = queue.next(), queue.next()
    assert (first, other) == (twins[0], twins[2])
    assert queue.next() is None
    assert first
    queue.end(first, "failed", {}, "broken")
    assert queue.next() is twins[1]  # the first one's failure says nothing of the second


def test_equal_proposals_are_trained_once(lab: Lab) -> None:
    space = {"optimizer.momentum": {"choices": [0.5, 0.9]}}
    plan = plan_of(space, trials=6, sampler={"type": "random"}, concurrency=2)
    reused: list[Task] = []
    queue = TrialQueue([], [SearchSource(lab.open(plan), task)], lambda task: None, reused.append)
    trained = 0
    while not queue.done:
        flying = [t for t in (queue.next(), queue.next()) if t]
        for current in flying:
            trained += 1
            finish(queue, current)
    assert (trained, len(reused)) == (2, 4)
    assert len(queue.searches[0].search.history()) == 6
    assert len({t.values[0] for t in queue.searches[0].search.history()}) <= 2


def test_what_the_store_has_is_told_to_the_search_and_not_trained(lab: Lab) -> None:
    (source,) = sources(lab, 2)
    reused: list[Task] = []

    def past(task: Task) -> Past | None:
        assert task.attempt
        return Past(rows_of(task.attempt), "finished", FINAL)

    queue = TrialQueue([], [source], past, reused.append)
    assert queue.next() is None
    assert queue.done
    assert len(reused) == 2
    assert all(len(t.intermediate_values) == 10 for t in source.search.history())


def test_half_of_a_run_is_trained_again_unless_it_was_to_be_stopped(lab: Lab) -> None:
    (source,) = sources(lab, 1)
    queue = TrialQueue([], [source], lambda task: Past(rows_of(task.attempt)[:4]))  # type: ignore[arg-type]
    current = queue.next()
    assert current
    finish(queue, current)
    (trial,) = source.search.history()
    assert len(trial.intermediate_values) == 10


def test_a_lost_trial_of_a_search_is_begun_again_but_not_for_ever(lab: Lab) -> None:
    (source,) = sources(lab, 1)
    queue = TrialQueue([], [source])
    retries = source.search.space.base.trainer.max_retries
    for _ in range(retries):
        current = queue.next()
        assert current
        queue.report(current, rows_of(current.attempt)[:3])  # type: ignore[arg-type]
        assert queue.retry(current, KILLED)
    last = queue.next()
    assert last
    assert not queue.retry(last, KILLED)
    queue.end(last, "failed", {}, "its worker died")
    assert queue.next() is None
    assert queue.done


def test_an_exception_that_comes_again_in_the_same_epoch_is_not_tried_for_ever() -> None:
    queue = TrialQueue([task(None, None)])
    for epoch, goes_on in ((3, True), (5, True), (5, False)):
        current = queue.next()
        assert current
        assert queue.retry(current, Fault("ValueError()", "trace", epoch)) == goes_on
        if not goes_on:
            queue.end(current, "failed", {}, "ValueError()")
    assert queue.done


def test_a_trial_of_another_driver_is_waited_for_and_its_result_taken() -> None:
    results: dict[str, Past] = {}
    reused: list[Task] = []
    queue = TrialQueue(
        [task(None, None, seed=1), task(None, None, seed=2)],
        past=lambda task: results.get(task.trial.key),
        reused=reused.append,
        claim=lambda task: task.config.seed == 2,
    )
    mine = queue.next()
    assert mine
    assert mine.config.seed == 2
    finish(queue, mine)
    assert queue.next() is None
    assert not queue.done
    (theirs,) = queue.elsewhere
    queue.reconsider([theirs])
    assert queue.next() is None
    assert queue.elsewhere == [theirs], "it is still the other's"
    results[theirs.trial.key] = Past([], "finished")
    queue.reconsider([theirs])
    assert queue.next() is None
    assert reused == [theirs]
    assert queue.done
