"""Trains a driver's tasks with Ray Tune: one Tune run, whatever they come from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from ibml.config.plugins import sent as sent_plugins
from ibml.config.resources import ResourcesConfig
from ibml.config.trial import TrialConfig, flatten
from ibml.interruption import raise_if_requested
from ibml.study.cluster import connected, named
from ibml.study.cluster_check import refuse_unfit
from ibml.study.driver import Driver
from ibml.study.faults import TrialFailure
from ibml.study.gpu_share import found_share
from ibml.study.queue import Task
from ibml.study.worker import Parcel, TrialActor

_SLOTS_SECONDS = 5.0
"""How long the size of the cluster is taken to be what it was."""


def run_tasks(
    name: str, resources: ResourcesConfig, driver: Driver, address: str | None, configs: Sequence[TrialConfig]
) -> None:
    """Train everything that the driver hands out, which is like `configs` in what it takes of a GPU.

    Raises `ClusterError` where Ray cannot be had. A trial that fails does not stop the others; Ctrl-C (or SIGTERM)
    ends the run, and the driver knows what is left.
    """
    raise_if_requested()
    events = _Events(driver)
    with connected(address, resources) as folder:
        raise_if_requested()
        if named(address):
            refuse_unfit(driver.session.workspace.root, driver.session.warn)
        resources = found_share(resources, configs, driver.session.say)
        tuner = tune.Tuner(
            tune.with_resources(TrialActor, {"cpu": resources.cpu, "gpu": resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_Tasks(driver, resources, events.tasks, _AHEAD if named(address) else 1),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(folder),
                callbacks=[events],
                stop=_Verdicts(driver, events),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        tuner.fit()


_AHEAD = 16
"""Trials that wait for a place on a running cluster, which may grow for them."""
_CHECKPOINT_SECONDS = 10.0
"""How long a stop waits for running trials to write checkpoints."""
_LOOK_SECONDS = 5.0
"""How often it is looked for workers that hang."""


_KEPT = {"task", "done", "trial_id", "training_iteration", "time_total_s"}
"""What stays of a result, since Tune keeps every trial's last one."""


class _NotKept:
    """Tune keeps copies of its parts for its own restore, which ibml does not use: keys resume a study."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Tasks(_NotKept, Searcher):  # type: ignore[misc]
    """The driver's tasks as Tune's suggestions."""

    def __init__(self, driver: Driver, resources: ResourcesConfig, tasks: dict[int, Task], ahead: int):
        super().__init__()
        self.driver, self.resources, self.tasks, self.ahead = driver, resources, tasks, ahead
        self._numbers = count()
        self._slots, self._counted = 1, -_SLOTS_SECONDS

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        task = self.driver.next(self._places(), self.ahead)
        if task is None:
            return Searcher.FINISHED if self.driver.done else None
        number = next(self._numbers)
        self.tasks[number] = task
        leg = task.leg
        part = {"start": leg.state, "copied": leg.copied, "stop": leg.stop} if leg else {}
        trial = _sent(task, self.resources.gpus)
        sent = {
            "task": number,
            "pauses": list(task.pauses),
            "trial": trial,
            "data": task.trial.fingerprint,
            "plugins": sent_plugins(flatten(trial)),
            "folder": str(self.driver.folder(task)),
            "begin": [(epoch, str(path)) for epoch, path in task.begin],
            "leave": {epoch: str(path) for epoch, path in task.leave.items()},
        }
        return {"task": number, "parcel": Parcel({**sent, **part})}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass

    def _places(self) -> int:
        """How many trials fit the cluster as it is."""
        if time.monotonic() - self._counted > _SLOTS_SECONDS:
            self._counted, total = time.monotonic(), ray.cluster_resources()
            asked = {"CPU": self.resources.cpu, "GPU": self.resources.gpus}
            self._slots = max(1, min(int(total.get(kind, 0) / share) for kind, share in asked.items() if share))
        return self._slots


class _Verdicts(_NotKept, tune.Stopper):  # type: ignore[misc]
    """Every report goes to the driver, which says whether the trial goes on."""

    def __init__(self, driver: Driver, events: _Events):
        self.driver, self.events = driver, events

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        goes_on = self.driver.result(self.events.tasks[result["task"]], result)
        for name in result.keys() - _KEPT:
            del result[name]
        return not goes_on

    def stop_all(self) -> bool:
        if self.driver.stopped:
            self.events.checkpoint_running()
        return self.driver.stopped


class _Events(_NotKept, tune.Callback):  # type: ignore[misc]
    """Starts and deaths of trials."""

    def __init__(self, driver: Driver):
        self.driver = driver
        self.tasks: dict[int, Task] = {}
        self._running: dict[int, Any] = {}
        self._looked = time.monotonic()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = trial.config["task"]
        trial.config["parcel"].empty()
        self._running[number] = trial
        self.driver.begin(self.tasks[number])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """A worker that hangs ends itself, unless its whole process does nothing or its host is out of reach."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for number, trial in self._running.items():
            actor = trial.temporary_state.ray_actor
            if actor and trial.status == "RUNNING" and self.driver.is_silent(self.tasks[number]):
                ray.kill(actor)

    def checkpoint_running(self) -> None:
        """Let the workers of running trials write checkpoints, each once, and wait for that within limits: Tune gives
        a worker that it stops ten seconds for all that it has to do."""
        written = []
        while self._running:
            number, trial = self._running.popitem()
            actor = trial.temporary_state.ray_actor
            if actor and number in self.tasks and trial.status == "RUNNING":
                written.append(actor.checkpoint_now.remote())
        if written:
            ray.wait(written, num_returns=len(written), timeout=_CHECKPOINT_SECONDS)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_error()
        cause = getattr(error, "cause", None)  # of an exception in the trial; a worker that died has none
        died = f" ({type(error).__name__})" if error else ""
        reason = f"its worker process died{died}: killed, or the node was lost"
        if cause:
            reason = str(cause) if isinstance(cause, TrialFailure) else repr(cause)
        if task := self._over(trial):
            self.driver.died(task, reason, str(error) if error else reason)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._over(trial)

    def _over(self, trial: Any) -> Task | None:
        """Forget a trial that has ended; its task, unless it had ended before."""
        self._running.pop(trial.config["task"], None)
        return self.tasks.pop(trial.config["task"], None)


def _sent(task: Task, gpu: float) -> dict[str, Any]:
    """A configuration for a worker. Without a reserved GPU a trial stays away from those that are there."""
    plain = task.config.model_dump(mode="json")
    plain["trainer"]["keep"] = task.keep
    if plain["trainer"]["device"] == "auto" and gpu == 0:
        plain["trainer"]["device"] = "cpu"
    return plain
