"""Trains the coordinator's tasks with Ray Tune, in one Tune run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from ibml.common.processes.interruption import raise_if_stop_requested
from ibml.config.resources import ResourcesConfig
from ibml.config.trial import TrialConfig
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.retry import TrialFailure
from ibml.study.engine.tasks import TrialTask
from ibml.study.engine.worker import build_assignment
from ibml.study.ray.actor import Parcel, TrialActor
from ibml.study.ray.cluster import connect_to_ray, resolve_address
from ibml.study.ray.gpu_sharing import resolve_gpu_share
from ibml.study.ray.health_check import refuse_unfit_nodes

_SLOTS_SECONDS = 5.0
"""How long the size of the cluster is taken to be what it was."""


def run_on_ray(
    name: str,
    resources: ResourcesConfig,
    coordinator: Coordinator,
    address: str | None,
    configs: Sequence[TrialConfig],
) -> None:
    """Train everything that the coordinator hands out.

    A trial that fails does not stop the others. Ctrl-C (or SIGTERM) ends the run, and the coordinator knows what is
    left.

    Args:
        name: Name of the Tune run.
        resources: Resources of one trial.
        coordinator: Hands out tasks and takes in reports.
        address: Address of a running cluster; None for `RAY_ADDRESS`, or a cluster on this machine.
        configs: Configurations like those of the tasks, to find how many fit a GPU.

    Raises:
        ClusterError: If Ray is not available.
    """
    raise_if_stop_requested()
    events = _Events(coordinator)
    with connect_to_ray(address, resources) as folder:
        raise_if_stop_requested()
        if resolve_address(address):
            refuse_unfit_nodes(coordinator.session.workspace.root, coordinator.session.warn)
        resources = resolve_gpu_share(resources, configs, coordinator.session.say)
        tuner = tune.Tuner(
            tune.with_resources(TrialActor, {"cpu": resources.cpu, "gpu": resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_Suggestions(
                    coordinator, resources, events.tasks, _AHEAD if resolve_address(address) else 1
                ),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(folder),
                callbacks=[events],
                stop=_Stopper(coordinator, events),
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


class _Suggestions(_NotKept, Searcher):  # type: ignore[misc]
    """The coordinator's tasks as Tune's suggestions."""

    def __init__(
        self,
        coordinator: Coordinator,
        resources: ResourcesConfig,
        tasks: dict[int, TrialTask],
        ahead: int,
    ):
        super().__init__()
        self.coordinator, self.resources, self.tasks, self.ahead = (
            coordinator,
            resources,
            tasks,
            ahead,
        )
        self._numbers = count()
        self._slots, self._counted = 1, -_SLOTS_SECONDS

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        task = self.coordinator.next(self._count_slots(), self.ahead)
        if task is None:
            return Searcher.FINISHED if self.coordinator.is_done else None
        number = next(self._numbers)
        self.tasks[number] = task
        assignment = build_assignment(
            task, number, self.coordinator.get_checkpoint_folder(task), self.resources.gpus
        )
        return {"task": number, "parcel": Parcel(assignment)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        pass

    def _count_slots(self) -> int:
        """How many trials fit the cluster as it is."""
        if time.monotonic() - self._counted > _SLOTS_SECONDS:
            self._counted, total = time.monotonic(), ray.cluster_resources()
            asked = {"CPU": self.resources.cpu, "GPU": self.resources.gpus}
            self._slots = max(
                1, min(int(total.get(kind, 0) / share) for kind, share in asked.items() if share)
            )
        return self._slots


class _Stopper(_NotKept, tune.Stopper):  # type: ignore[misc]
    """Passes every report to the coordinator, which decides whether the trial continues."""

    def __init__(self, coordinator: Coordinator, events: _Events):
        self.coordinator, self.events = coordinator, events

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        continues = self.coordinator.report(self.events.tasks[result["task"]], result)
        for name in result.keys() - _KEPT:
            del result[name]
        return not continues

    def stop_all(self) -> bool:
        if self.coordinator.is_stopped:
            self.events.checkpoint_running()
        return self.coordinator.is_stopped


class _Events(_NotKept, tune.Callback):  # type: ignore[misc]
    """Starts and deaths of trials."""

    def __init__(self, coordinator: Coordinator):
        self.coordinator = coordinator
        self.tasks: dict[int, TrialTask] = {}
        self._running: dict[int, Any] = {}
        self._looked = time.monotonic()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = trial.config["task"]
        trial.config["parcel"].empty()
        self._running[number] = trial
        self.coordinator.start(self.tasks[number])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """A worker that hangs ends itself, unless its whole process does nothing or its host is out of reach."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for number, trial in self._running.items():
            actor = trial.temporary_state.ray_actor
            if (
                actor
                and trial.status == "RUNNING"
                and self.coordinator.is_silent(self.tasks[number])
            ):
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
        cause = getattr(
            error, "cause", None
        )  # of an exception in the trial; a worker that died has none
        died = f" ({type(error).__name__})" if error else ""
        reason = f"its worker process died{died}: killed, or the node was lost"
        if cause:
            reason = str(cause) if isinstance(cause, TrialFailure) else repr(cause)
        if task := self._remove_trial(trial):
            self.coordinator.handle_worker_death(task, reason, str(error) if error else reason)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._remove_trial(trial)

    def _remove_trial(self, trial: Any) -> TrialTask | None:
        """Forget a trial that has ended; its task, unless it had ended before."""
        self._running.pop(trial.config["task"], None)
        return self.tasks.pop(trial.config["task"], None)
