"""Ray backend: trains the coordinator's tasks in one run of Ray Tune."""

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
"""Time for which the size of the cluster is cached."""


def run_on_ray(
    name: str,
    resources: ResourcesConfig,
    coordinator: Coordinator,
    address: str | None,
    configs: Sequence[TrialConfig],
) -> None:
    """Train all tasks of the coordinator.

    A trial that fails does not stop the others. SIGINT or SIGTERM ends the run; unfinished trials
    remain in the coordinator.

    Args:
        name: Name of the Tune run.
        resources: Resources of one trial.
        coordinator: Coordinator of the run.
        address: Address of a running cluster; None for `RAY_ADDRESS`, or a cluster on this machine.
        configs: One configuration per kind of trial, to measure the GPU memory of each kind.

    Raises:
        ClusterError: If Ray is not available.
    """
    raise_if_stop_requested()
    events = _TrialEvents(coordinator)
    with connect_to_ray(address, resources) as folder:
        raise_if_stop_requested()
        if resolve_address(address):
            refuse_unfit_nodes(coordinator.session.workspace.root, coordinator.session.warn)
        resources = resolve_gpu_share(resources, configs, coordinator.session.say)
        ahead = _AHEAD if resolve_address(address) else 1
        tuner = tune.Tuner(
            tune.with_resources(TrialActor, {"cpu": resources.cpu, "gpu": resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_TaskSearcher(coordinator, resources, events.tasks, ahead),
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
"""Number of trials queued on a running cluster beyond its slots, so that it can scale up."""
_CHECKPOINT_SECONDS = 10.0
"""Time limit for running trials to save checkpoints when the run is stopped."""
_HANG_CHECK_SECONDS = 5.0
"""Interval of the check for workers that hang."""
_KEPT = {"task", "done", "trial_id", "training_iteration", "time_total_s"}
"""Keys that stay in a report; Tune keeps the last report of every trial in memory."""


class _NotPickled:
    """Base class of Tune components that are pickled without their state.

    Tune saves its components to restore a run. ibml resumes a study by its keys instead.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _TaskSearcher(_NotPickled, Searcher):  # type: ignore[misc]
    """Tune searcher that suggests the coordinator's tasks."""

    def __init__(
        self,
        coordinator: Coordinator,
        resources: ResourcesConfig,
        tasks: dict[int, TrialTask],
        ahead: int,
    ):
        super().__init__()
        self.coordinator, self.resources = coordinator, resources
        self.tasks, self.ahead = tasks, ahead
        self._numbers = count()
        self._slots, self._counted_at = 1, -_SLOTS_SECONDS

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        task = self.coordinator.request_task(self._count_slots(), self.ahead)
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
        """Return the number of trials that fit the cluster at its present size."""
        if time.monotonic() - self._counted_at > _SLOTS_SECONDS:
            self._counted_at = time.monotonic()
            total = ray.cluster_resources()
            requested = {"CPU": self.resources.cpu, "GPU": self.resources.gpus}
            fits = [int(total.get(kind, 0) / share) for kind, share in requested.items() if share]
            self._slots = max(1, min(fits))
        return self._slots


class _Stopper(_NotPickled, tune.Stopper):  # type: ignore[misc]
    """Forwards every report to the coordinator, which decides if the trial continues."""

    def __init__(self, coordinator: Coordinator, events: _TrialEvents):
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


class _TrialEvents(_NotPickled, tune.Callback):  # type: ignore[misc]
    """Forwards starts and deaths of trials to the coordinator."""

    def __init__(self, coordinator: Coordinator):
        self.coordinator = coordinator
        self.tasks: dict[int, TrialTask] = {}
        self._running: dict[int, Any] = {}
        self._checked_at = time.monotonic()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = trial.config["task"]
        trial.config["parcel"].empty()
        self._running[number] = trial
        self.coordinator.start(self.tasks[number])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Kill workers that hang.

        A worker that hangs normally ends itself, unless its process is stopped or its host is
        unreachable.
        """
        if time.monotonic() - self._checked_at < _HANG_CHECK_SECONDS:
            return
        self._checked_at = time.monotonic()
        for number, trial in self._running.items():
            actor = trial.temporary_state.ray_actor
            is_running = actor and trial.status == "RUNNING"
            if is_running and self.coordinator.is_silent(self.tasks[number]):
                ray.kill(actor)

    def checkpoint_running(self) -> None:
        """Let the workers of running trials save checkpoints, each once, within a time limit.

        Tune itself gives a stopped worker only ten seconds in all.
        """
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
        cause = getattr(error, "cause", None)  # set for an exception of the trial
        died = f" ({type(error).__name__})" if error else ""
        reason = f"its worker process died{died}: killed, or the node was lost"
        if cause:
            reason = str(cause) if isinstance(cause, TrialFailure) else repr(cause)
        if task := self._remove_trial(trial):
            self.coordinator.handle_worker_death(task, reason, str(error) if error else reason)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._remove_trial(trial)

    def _remove_trial(self, trial: Any) -> TrialTask | None:
        """Remove a trial that has ended; return its task, or None if it was already removed."""
        self._running.pop(trial.config["task"], None)
        return self.tasks.pop(trial.config["task"], None)
