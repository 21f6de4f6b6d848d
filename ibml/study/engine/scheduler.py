"""What is to be trained next: trials that are planned, and those that searches propose while they run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ibml.config.optimization import Keep
from ibml.config.trial import TrialConfig
from ibml.search.attempts import Attempt, Leg
from ibml.search.population import Population
from ibml.search.search import Ending, Search
from ibml.study.engine.prefix_cache import Begin, Leave, Stages
from ibml.study.engine.retry import Fault, may_help
from ibml.study.planning.trials import PlannedTrial

Row = Mapping[str, float]

_LATE = 5.0
"""A task is late when it reports nothing for so many times the longest that it took to, and this many seconds."""
_LOOKED_AT = ("epoch", "val.", "time.")


@dataclass(frozen=True)
class Past:
    """What is known of a key from before: its epochs, and how it ended if it did."""

    rows: Sequence[Row]
    ending: Ending | None = None
    final: Row = field(default_factory=dict)
    reason: str = ""


@dataclass(eq=False)
class Task:
    """A trial to train, below a run of the store; of a search, also the attempt that it answers."""

    trial: PlannedTrial
    parent: str | None
    tags: dict[str, str] = field(default_factory=dict)
    source: SearchSource | None = None
    attempt: Attempt | None = None
    faults: list[Fault] = field(default_factory=list)
    epochs: int = 0
    rows: list[Row] = field(default_factory=list)
    """What searches look at of the epochs; kept only where there are searches."""
    begin: Begin = field(default_factory=list)
    """States of other trials to go on from, the deepest first."""
    leave: Leave = field(default_factory=dict)
    """States to leave for other trials."""
    heard: float = 0.0
    slowest: float = 0.0
    """When it last said something, by a clock, and the longest that it took to."""

    @property
    def config(self) -> TrialConfig:
        """What is trained: of a member of a population, with the values that it has by now."""
        return self.attempt.config if self.attempt else self.trial.config

    @property
    def leg(self) -> Leg | None:
        """Which part of a training it is, where it is not the whole."""
        return self.attempt.leg if self.attempt else None

    @property
    def keep(self) -> Keep:
        """What stays on disk of the trial: of those of a search nothing, since there are many, and the best is trained
        again to the same numbers."""
        return "none" if self.attempt else self.config.trainer.keep

    @property
    def first(self) -> int:
        """How many epochs were trained before the task."""
        return self.leg.first if self.leg else 0

    @property
    def trained(self) -> int:
        """How many epochs are known to be trained."""
        return self.first + self.epochs

    def hear(self) -> None:
        """It has begun, or said something."""
        now = time.monotonic()
        self.slowest = max(self.slowest, now - self.heard) if self.heard else 0.0
        self.heard = now

    @property
    def late(self) -> bool:
        """Whether it has been silent for so long that nothing should wait for it."""
        return self.slowest > 0 and time.monotonic() - self.heard > _LATE * (1 + self.slowest)

    @property
    def numbers(self) -> dict[str, float]:
        """What every epoch logs beside its metrics: numeric values that may be others in other epochs."""
        return {f"value.{path}": value for path, value in self.leg.numbers.items()} if self.leg else {}

    @property
    def pauses(self) -> tuple[int, ...]:
        """After how many epochs the trial waits to hear whether it goes on."""
        return self.attempt.pauses if self.attempt else ()


@dataclass(eq=False)
class SearchSource:
    """A search whose attempts become tasks by `task_for`, and what follows once it is done."""

    search: Search
    task_for: Callable[[SearchSource, Attempt], Task]
    when_done: Callable[[Search], Iterable[Task]] = lambda search: ()
    closed: bool = False


Follow = Callable[[Task, Ending, Row], Iterable[Task]]


class TrialQueue:
    """Hands out tasks. Attempts of searches come first, those of the search that has begun fewest; so several
    searches go forward side by side, and planned trials fill what they leave free.

    A key is trained by one task at a time. One whose result is known is not trained: `past` says what is known of
    a key, and `reused` is called with the task. One that `claim` does not get waits `elsewhere`, since another driver
    trains it, until `reconsider`. `follow` gives the planned trials that follow from how one ended. One for which a
    running task is about to leave a state among the shared `stages` waits behind that, unless it is late.
    """

    def __init__(
        self,
        trials: Iterable[Task],
        searches: Sequence[SearchSource] = (),
        past: Callable[[Task], Past | None] = lambda task: None,
        reused: Callable[[Task], None] = lambda task: None,
        follow: Follow = lambda task, ending, final: (),
        claim: Callable[[Task], bool] = lambda task: True,
        stages: Stages | None = None,
    ):
        self.planned, self.searches = deque[Task](), list(searches)
        self.elsewhere: list[Task] = []
        self.stages = stages or Stages()
        self._past, self._reused, self._follow, self._claim = past, reused, follow, claim
        self._flying: dict[str, Task] = {}
        self._waiting: dict[str, deque[Task]] = {}
        self._behind: dict[Task, list[Task]] = {}
        self._again: deque[Task] = deque()
        self._ended: dict[str, Past] = {}
        self._plan(trials)

    @property
    def done(self) -> bool:
        nothing_left = not (self.planned or self._flying or self._waiting or self._again or self.elsewhere)
        return nothing_left and all(source.closed for source in self.searches)

    @property
    def flying(self) -> int:
        """How many tasks are being trained."""
        return len(self._flying)

    def trains(self, task: Task) -> bool:
        """Whether a task was handed out and has not ended."""
        return self._flying.get(task.trial.key) is task

    def share_out(self, slots: int) -> None:
        """Let searches that set no concurrency of their own try as many proposals at once as fill the slots."""
        for source in self.searches:
            source.search.concurrency = source.search.config.concurrency or -(-slots // len(self.searches))

    def next(self, room: bool = True) -> Task | None:
        """The next task to train, or nothing for now. Without `room` no planned trial is handed out, so that
        the proposals that searches are about to make need not queue behind it."""
        for late in [leader for leader in self._behind if leader.late]:
            self._again.extend(self._behind.pop(late))
        while (task := self._take(room)) is not None:
            key = task.trial.key
            if key in self._flying:
                self._waiting.setdefault(key, deque()).append(task)
            elif self._known(task):
                self.stages.drop(task)
            elif leader := self.stages.awaited(task, (other for other in self._flying.values() if not other.late)):
                self._behind.setdefault(leader, []).append(task)
            elif self._claim(task):
                self._flying[key] = task
                task.begin, task.leave = self.stages.begin(task)
                return task
            elif self._known(task):  # the claim has met a result
                self.stages.drop(task)
            else:
                self.elsewhere.append(task)
        return None

    def _plan(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self.stages.add(task)
            self.planned.append(task)

    def reconsider(self, tasks: Iterable[Task]) -> None:
        """Tasks that waited elsewhere are looked at again."""
        for task in tasks:
            self.elsewhere.remove(task)
            self._again.append(task)

    def _take(self, room: bool) -> Task | None:
        if self._again:
            return self._again.popleft()
        for source in sorted(self.searches, key=lambda source: source.search.started):
            if source.closed:
                continue
            attempt = source.search.next()
            if attempt is not None:
                task = source.task_for(source, attempt)
                self.stages.add(task)
                return task
            self._close_if_done(source)
        return self.planned.popleft() if self.planned and room else None

    def _close_if_done(self, source: SearchSource) -> None:
        if source.search.done and not source.closed:
            source.closed = True
            self._plan(source.when_done(source.search))

    def _known(self, task: Task) -> bool:
        """Whether the task needs no training, since what is known of its key answers it. A part of a training always
        does, for the state that it ends with."""
        if task.leg is not None:
            return False
        past = self._ended.get(task.trial.key) or self._past(task)
        if past is None:
            return False
        if task.source is None or task.attempt is None:
            if past.ending in ("finished", "diverged"):
                self._reused(task)
                self._plan(self._follow(task, past.ending, past.final))
                return True
            return False
        search, attempt = task.source.search, task.attempt
        goes_on = search.report(attempt, past.rows)
        if goes_on and past.ending not in ("finished", "diverged"):
            search.restart(attempt)
            return False
        search.end(attempt, past.ending or "finished", past.final, past.reason)
        self._reused(task)
        return True

    def report(self, task: Task, rows: Sequence[Row]) -> bool:
        """Take in a task's epochs; whether it goes on. What waited behind it is looked at again."""
        task.epochs += len(rows)
        task.hear()
        self._again.extend(self._behind.pop(task, ()))
        if self.searches:
            task.rows += [{k: v for k, v in row.items() if k.startswith(_LOOKED_AT)} for row in rows]
        return task.source is None or task.attempt is None or task.source.search.report(task.attempt, rows)

    def end(self, task: Task, ending: Ending, final: Row, reason: str = "") -> None:
        """Take in how a task ended; tasks that waited for its key, or for a state of it, are looked at again."""
        pruned = task.attempt is not None and bool(task.attempt.pruned)
        if not pruned and ending != "failed":
            self._ended[task.trial.key] = Past(task.rows, ending, final, reason)
        if task.source and task.attempt:
            task.source.search.end(task.attempt, ending, final, reason)
        else:
            self._plan(self._follow(task, ending, final))
        self.stages.drop(task)
        self._land(task)

    def arrive(self, task: Task, state: bytes) -> None:
        """Take in the state of a task that ended with one; the search will hand out what goes on from it."""
        assert task.source is not None
        assert task.attempt is not None
        assert isinstance(task.source.search, Population)
        task.source.search.arrive(task.attempt, state)
        self._land(task)

    def retry(self, task: Task, fault: Fault) -> bool:
        """Take in a fault of a task; whether it goes on, from where a new worker finds its last checkpoint."""
        task.faults.append(fault)
        if not may_help(task.faults, task.config.trainer.max_retries):
            return False
        task.epochs, task.heard = 0, 0.0
        task.rows.clear()
        if task.source and task.attempt:
            task.source.search.restart(task.attempt)
        self._land(task)
        self._again.appendleft(task)
        return True

    def _land(self, task: Task) -> None:
        del self._flying[task.trial.key]
        self._again.extend(self._waiting.pop(task.trial.key, ()))
        self._again.extend(self._behind.pop(task, ()))
