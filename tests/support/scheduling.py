"""Tasks and searches for tests of the scheduler, which need no coordinator and no store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ibml.search.search import Search
from ibml.search.trial_runs import TrialRun
from ibml.study.engine.scheduler import Scheduler, SchedulingDecision
from ibml.study.engine.tasks import PriorResult, SearchSource, TrialTask


@dataclass(eq=False)
class Source:
    """A search, with a function that builds tasks for its trial runs."""

    search: Search
    build: Callable[[SearchSource, TrialRun], TrialTask]

    def make_task(self, trial_run: TrialRun) -> TrialTask:
        return self.build(self, trial_run)


@dataclass
class Desk:
    """Executes a scheduler's decisions, as the coordinator does, and records reused tasks."""

    scheduler: Scheduler
    past: Callable[[TrialTask], PriorResult | None] = lambda task: None
    claim: Callable[[TrialTask], bool] = lambda task: True
    after_trial: Callable[..., Iterable[TrialTask]] = lambda task, ending, final: ()
    after_search: Callable[[Search], Iterable[TrialTask]] = lambda search: ()

    def __post_init__(self) -> None:
        self.reused: list[TrialTask] = []

    def next(self, room: bool = True) -> TrialTask | None:
        while True:
            finished = self.scheduler.take_finished_searches()
            for search in finished:
                self.scheduler.add(self.after_search(search))
            task = self.scheduler.take_candidate(room)
            if task is None:
                if finished:
                    continue
                return None
            known = self.scheduler.get_result(task) or self.past(task)
            decision = self.scheduler.decide(task, known)
            if decision is SchedulingDecision.TRAIN:
                if self.claim(task):
                    self.scheduler.start(task)
                    return task
                self.scheduler.defer(task)
            if decision is SchedulingDecision.REUSE:
                self.reused.append(task)
                if task.source is None and known:
                    self.scheduler.add(self.after_trial(task, known.ending, known.final))

    def end(self, task: TrialTask, ending: str, final: dict[str, float], reason: str = "") -> None:
        self.scheduler.end(task, ending, final, reason)  # type: ignore[arg-type]
        if task.source is None:
            self.scheduler.add(self.after_trial(task, ending, final))
