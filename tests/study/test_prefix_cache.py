"""Prefix sharing: which trials train and wait, and the disk space used.

No trial is trained here. A fake worker takes and leaves states in place of Ray's.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibml.config.trial import TrialConfig
from ibml.study.engine.prefix_cache import PrefixCache, open_prefix_cache
from ibml.study.engine.prefix_store import PrefixStore
from ibml.study.engine.retry import Fault
from ibml.study.engine.scheduler import Scheduler
from ibml.study.engine.tasks import SearchSource, TrialTask
from ibml.study.planning.cells import Cell
from ibml.study.planning.keys import compute_prefix_keys, compute_trial_key
from ibml.study.planning.trials import TrialSpec
from tests.support.scheduling import Desk, Source
from tests.support.searches import Lab, plan_of, rows_of

Build = Callable[..., TrialConfig]
SIZE = 100
KILLED = Fault("killed", "")
WINDOW = "method.window.first_epoch"


def planned(
    trial: Build, first: int | None, stop: int | None = None, epochs: int = 12, seed: int = 0
) -> TrialTask:
    """A trial of `ibml` in a window, or a joint one."""
    window = {"first_epoch": first, **({"stop_epoch": stop} if stop else {})}
    method = {"type": "joint"} if first is None else {"type": "ibml", "window": window}
    return task_of(trial(method=method, trainer={"epochs": epochs}, seed=seed))


def task_of(config: TrialConfig) -> TrialTask:
    cell = Cell("mfeat", "arm", config, {})
    return TrialTask(
        TrialSpec(cell, config, compute_trial_key(config, "data"), "data", "trial"), None
    )


@dataclass
class Workers:
    """Fake workers that train the tasks of a queue, one epoch at a time."""

    desk: Desk
    slots: int
    epochs: Counter[bytes] = field(default_factory=Counter)
    """Number of times that the epoch before a state was trained."""
    running: dict[TrialTask, int] = field(default_factory=dict)
    lost: int = 0

    def fill(self) -> None:
        while len(self.running) < self.slots and (task := self.desk.next()) is not None:
            self.running[task] = 0
            begun = next(
                (epochs for epochs, path in task.warm_start_candidates if path.exists()), 0
            )
            if begun:
                self._reached(task, begun)

    def train(self, task: TrialTask, write: bool = True) -> bool:
        """One epoch of a task; whether it has ended."""
        epoch = self.running[task] + 1
        if epoch <= task.config.trainer.epochs:
            names = compute_prefix_keys(task.config, task.spec.fingerprint, self.code)
            self.epochs[names[epoch - 1]] += 1
            if write and epoch in task.checkpoints_to_save:
                task.checkpoints_to_save[epoch].parent.mkdir(exist_ok=True)
                task.checkpoints_to_save[epoch].write_bytes(b"x" * SIZE)
                self.desk.scheduler.prefixes.record_saved(task, epoch, SIZE)
            self._reached(task, epoch)
        if epoch >= task.config.trainer.epochs:
            del self.running[task]
            self.desk.end(task, "finished", {"time.total": 1.0})
            return True
        return False

    code = "any"

    def _reached(self, task: TrialTask, epochs: int) -> None:
        rows = (
            rows_of(task.trial_run)
            if task.trial_run
            else [{"epoch": float(epoch)} for epoch in range(epochs)]
        )
        rows = rows[self.running[task] : epochs]
        self.running[task] = epochs
        self.desk.scheduler.report(task, rows)

    def kill(self, task: TrialTask) -> None:
        del self.running[task]
        if not self.desk.scheduler.retry(task, KILLED):
            self.lost += 1
            self.desk.end(task, "failed", {})

    def to_the_end(self) -> None:
        while not self.desk.scheduler.is_done:
            self.fill()
            assert self.running, "everything waits"
            for task in list(self.running):
                self.train(task)


def once(tasks: Sequence[TrialTask]) -> int:
    """Count the distinct epochs in the prefix tree of the tasks."""
    return len({name for task in tasks for name in compute_prefix_keys(task.config, "data", "any")})


@pytest.fixture
def stages(tmp_path: Path) -> PrefixCache:
    return open_prefix_cache(tmp_path / "stages", 1)


@pytest.mark.parametrize("slots", [1, 2, 5, 40])
def test_every_epoch_of_the_tree_is_trained_once(
    trial: Build, stages: PrefixCache, slots: int
) -> None:
    windows = [(None, None), (2, None), (2, 4), (2, 8), (6, None), (6, 8), (11, None)]
    tasks = [planned(trial, *window, seed=seed) for seed in range(3) for window in windows]
    tasks += [
        planned(trial, 2, 8, epochs=15),
        planned(trial, 2, 8, epochs=8),
        planned(trial, 2, 8, epochs=9),
    ]
    workers = Workers(Desk(Scheduler(tasks, prefixes=stages)), slots)
    workers.to_the_end()
    assert set(workers.epochs.values()) == {1}
    assert workers.epochs.total() == once(tasks) < sum(task.config.trainer.epochs for task in tasks)


def test_without_room_each_trains_alone(trial: Build, tmp_path: Path) -> None:
    tasks = [planned(trial, first) for first in (None, 4, 8)]
    workers = Workers(Desk(Scheduler(tasks, prefixes=open_prefix_cache(tmp_path / "stages", 0))), 3)
    workers.fill()
    assert len(workers.running) == 3
    workers.to_the_end()
    assert workers.epochs.total() == 36
    assert not (tmp_path / "stages").exists()


def test_trials_wait_for_a_state_and_no_longer(trial: Build, stages: PrefixCache) -> None:
    joint, early, late, other = (
        planned(trial, None),
        planned(trial, 3),
        planned(trial, 6),
        planned(trial, None, seed=1),
    )
    workers = Workers(Desk(Scheduler([joint, early, late, other], prefixes=stages)), 4)
    workers.fill()
    assert list(workers.running) == [joint, other]  # another seed has nothing in common
    assert sorted(joint.checkpoints_to_save) == [3, 6]
    for _ in range(3):
        workers.train(joint)
    workers.fill()
    assert list(workers.running) == [joint, other, early]
    assert [epochs for epochs, _ in early.warm_start_candidates] == [3]
    for _ in range(3):
        workers.train(joint)
    workers.fill()
    assert [epochs for epochs, _ in late.warm_start_candidates] == [6, 3]


def test_a_worker_that_dies_holds_nobody_up(trial: Build, stages: PrefixCache) -> None:
    joint, late = planned(trial, None), planned(trial, 6)
    workers = Workers(Desk(Scheduler([joint, late], prefixes=stages)), 2)
    workers.fill()
    workers.train(joint)
    workers.kill(joint)
    workers.fill()
    assert list(workers.running) == [joint], "it goes on first, and the other waits again"
    for _ in range(3):
        workers.kill(joint)
        workers.fill()
        if joint not in workers.running:
            break
    assert list(workers.running) == [late], "given up, it is trained by the other itself"
    workers.to_the_end()
    assert workers.lost == 1


def test_a_state_that_could_not_be_written_is_not_waited_for(
    trial: Build, stages: PrefixCache
) -> None:
    joint, late = planned(trial, None), planned(trial, 2)
    workers = Workers(Desk(Scheduler([joint, late], prefixes=stages)), 2)
    workers.fill()
    workers.train(joint, write=False)
    workers.fill()
    assert late not in workers.running
    workers.train(joint, write=False)
    workers.fill()
    assert late in workers.running
    assert late.warm_start_candidates == []


def test_a_worker_that_hangs_is_not_waited_for(
    trial: Build, stages: PrefixCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("ibml.study.engine.tasks.time.monotonic", lambda: now[0])
    joint, late, later = planned(trial, None), planned(trial, 6), planned(trial, 8)
    workers = Workers(Desk(Scheduler([joint, late, later], prefixes=stages)), 3)
    workers.fill()
    joint.record_report()
    now[0] += 60  # the first report takes its time
    workers.train(joint)
    now[0] += 300
    workers.fill()
    assert list(workers.running) == [joint]
    now[0] += 10
    workers.fill()
    assert list(workers.running) == [joint, late], "the next one leads"
    assert sorted(late.checkpoints_to_save) == [6]
    workers.to_the_end()
    assert joint.trained_epochs == later.trained_epochs == 12


def test_states_of_an_earlier_run_are_gone_on_from(trial: Build, tmp_path: Path) -> None:
    first = [planned(trial, None), planned(trial, 6)]
    Workers(Desk(Scheduler(first, prefixes=open_prefix_cache(tmp_path, 1))), 1).to_the_end()
    again = planned(trial, 8)
    workers = Workers(Desk(Scheduler([again], prefixes=open_prefix_cache(tmp_path, 1))), 1)
    workers.fill()
    assert [epochs for epochs, _ in again.warm_start_candidates] == [6]


def test_a_study_that_is_trained_anew_takes_nothing_from_before(
    trial: Build, tmp_path: Path
) -> None:
    Workers(
        Desk(
            Scheduler(
                [planned(trial, None), planned(trial, 6)], prefixes=open_prefix_cache(tmp_path, 1)
            )
        ),
        1,
    ).to_the_end()
    again = planned(trial, 8)
    Workers(Desk(Scheduler([again], prefixes=open_prefix_cache(tmp_path, 1, clear=True))), 1).fill()
    assert again.warm_start_candidates == []


def test_what_is_over_the_limit_goes_and_is_trained_again(trial: Build, tmp_path: Path) -> None:
    """Unneeded states are evicted first, then the cheapest to train again; every trial ends."""
    tasks = [planned(trial, first, seed=seed) for seed in range(2) for first in (None, 2, 5, 8, 10)]
    files = PrefixStore(tmp_path / "stages", 2.5 * SIZE)
    workers = Workers(Desk(Scheduler(tasks, prefixes=PrefixCache(files))), 3)
    most = 0
    while not workers.desk.scheduler.is_done:
        workers.fill()
        for task in list(workers.running):
            workers.train(task)
            most = max(most, len(list((tmp_path / "stages").glob("*"))))
    assert most == 2
    assert once(tasks) < workers.epochs.total() < 120


def test_the_order_in_which_states_go(tmp_path: Path) -> None:
    files = PrefixStore(tmp_path, 2 * SIZE)
    for epochs in (30, 10, 20, 5):
        name = bytes([epochs]) * 16
        files.get_path(epochs, name).write_bytes(b"x" * SIZE)
        os.utime(files.get_path(epochs, name), (epochs, epochs))
        files.add(epochs, name, SIZE)
    (tmp_path / "something else").write_text("stays")
    files.trim({bytes([20]) * 16: 1, bytes([5]) * 16: 2})
    assert {path.name[:6] for path in tmp_path.glob("*.ckpt")} == {"000005", "000020"}, (
        "what is needed stays"
    )
    files.limit = SIZE
    files.trim({bytes([20]) * 16: 1, bytes([5]) * 16: 2})
    assert {path.name[:6] for path in tmp_path.glob("*.ckpt")} == {"000020"}, (
        "five epochs are soonest trained again"
    )
    assert (tmp_path / "something else").exists()


def attempts(source: SearchSource, trial_run: Any) -> TrialTask:
    made = task_of(trial_run.config)
    return TrialTask(made.spec, None, {}, source, trial_run)


def test_proposals_of_a_search_share_where_schedules_are_searched(
    tmp_path: Path, stages: PrefixCache
) -> None:
    spaces = {WINDOW: {"low": 4, "high": 8}}
    source = Source(
        Lab(tmp_path).open(plan_of(spaces, trials=12, sampler={"type": "random"})), attempts
    )
    workers = Workers(Desk(Scheduler([], [source], prefixes=stages)), 2)
    tasks = []
    while not workers.desk.scheduler.is_done:
        workers.fill()
        tasks += [task for task in workers.running if task not in tasks]
        for task in list(workers.running):
            workers.train(task)
    alone = sum(task.config.trainer.epochs for task in tasks)
    assert len(tasks) == 5, "there are five windows"
    assert workers.epochs.total() < 0.85 * alone


def test_proposals_that_have_nothing_in_common_leave_nothing(
    tmp_path: Path, stages: PrefixCache
) -> None:
    spaces = {"optimizer.lr": {"low": 0.001, "high": 0.1, "log": True}}
    source = Source(
        Lab(tmp_path).open(plan_of(spaces, trials=8, sampler={"type": "random"})), attempts
    )
    queue = Desk(Scheduler([], [source], prefixes=stages))
    queue.scheduler.share_slots(8)
    tasks = [task for _ in range(8) if (task := queue.next())]
    assert [bool(task.checkpoints_to_save) for task in tasks] == [True] * 3 + [False] * 5


def test_random_trees_with_random_deaths_all_end(trial: Build, tmp_path: Path) -> None:
    """Workers die, states are lost, space is scarce: no trial waits for ever or is lost."""
    drawn = np.random.default_rng(3)
    for number in range(25):
        tasks = []
        for _ in range(int(drawn.integers(2, 14))):
            first = int(drawn.integers(0, 10))
            stop = int(drawn.integers(first + 1, 11)) if drawn.random() < 0.6 else None
            epochs, seed = int(drawn.integers(10, 13)), int(drawn.integers(2))
            tasks.append(
                planned(trial, None if drawn.random() < 0.2 else first, stop, epochs, seed)
            )
        place = tmp_path / str(number)
        stages = PrefixCache(PrefixStore(place, float(drawn.choice([1.5, 3.5, 100])) * SIZE))
        workers = Workers(Desk(Scheduler(tasks, prefixes=stages)), int(drawn.integers(1, 6)))
        ended = 0
        while not workers.desk.scheduler.is_done:
            workers.fill()
            if workers.desk.scheduler.is_done:
                break  # the last ones had the key of one that ended
            assert workers.running, "everything waits"
            task = list(workers.running)[int(drawn.integers(len(workers.running)))]
            chance = drawn.random()
            if chance < 0.02 and len(task.faults) < 2:
                workers.kill(task)
            elif chance < 0.05:
                for path in list(place.glob("*"))[:1]:
                    path.unlink()
            else:
                ended += workers.train(task, write=drawn.random() < 0.9)
        assert ended == len({task.spec.key for task in tasks})
        assert workers.lost == 0
        assert workers.epochs.total() <= sum(
            task.config.trainer.epochs * (1 + len(task.faults)) for task in tasks
        )
        assert not stages._paths
        assert not stages._pending_counts
