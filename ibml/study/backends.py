"""Chooses where the coordinator's trials are trained: on Ray, or on this machine without Ray."""

from __future__ import annotations

from collections.abc import Sequence

from ibml.common.errors import IbmlError
from ibml.config.resources import ResourcesConfig
from ibml.config.trial import TrialConfig
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.run_summary import RunSummary
from ibml.study.options import RunContext, RunOptions


def choose_resources(resources: ResourcesConfig, options: RunOptions) -> ResourcesConfig:
    """Return the resources with the backend of the options.

    Raises:
        IbmlError: If the options do not fit the backend.
    """
    backend = options.backend or resources.backend
    workers = options.workers or resources.workers
    if backend == "ray":
        if options.debug:
            raise IbmlError("--debug needs the local backend: add --backend local")
        if options.workers:
            raise IbmlError("--workers needs the local backend: add --backend local")
    elif options.address:
        raise IbmlError(
            "--address names a Ray cluster, and --backend local uses none: remove one of them"
        )
    elif options.debug and workers > 1:
        raise IbmlError(
            f"--debug trains in this process, not in {workers} workers: add --workers 1"
        )
    return resources.model_copy(update={"backend": backend, "workers": workers})


def train_tasks(
    coordinator: Coordinator, name: str, configs: Sequence[TrialConfig], context: RunContext
) -> RunSummary:
    """Train everything that the coordinator hands out. The backend is not started if there is nothing to train.

    Args:
        coordinator: Hands out tasks and takes in reports.
        name: Name of the run.
        configs: Configurations like those of the tasks.
        context: What the run works with.

    Raises:
        ClusterError: If Ray is not available.
        Exception: The first error of the engine.
    """
    resources, options = context.resources, context.options
    with coordinator:
        if coordinator.has_work():
            if resources.backend == "local":
                from ibml.study.local.backend import run_locally

                run_locally(resources, coordinator, debug=options.debug)
            else:
                _run_on_ray(coordinator, name, resources, configs, options.address)
    if coordinator.error:
        raise coordinator.error
    return coordinator.summary


def _run_on_ray(
    coordinator: Coordinator,
    name: str,
    resources: ResourcesConfig,
    configs: Sequence[TrialConfig],
    address: str | None,
) -> None:
    from ibml.study.ray.cluster import set_ray_environment

    with set_ray_environment(address):
        from ibml.study.ray.backend import run_on_ray

        run_on_ray(name, resources, coordinator, address, configs)
