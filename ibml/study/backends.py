"""Choice of the backend that trains the coordinator's trials: Ray, or local processes."""

from __future__ import annotations

from collections.abc import Sequence

from ibml.common.errors import IbmlError
from ibml.config.resources import ResourcesConfig
from ibml.config.trial import TrialConfig
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.run_summary import RunSummary
from ibml.study.options import RunContext, RunOptions


def choose_resources(resources: ResourcesConfig, options: RunOptions) -> ResourcesConfig:
    """Return the resources with the backend and workers of the options.

    Args:
        resources: Resources of the study or search file.
        options: Options of the run, which take precedence.

    Returns:
        A copy of the resources.

    Raises:
        IbmlError: If an option does not apply to the backend.
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
    """Train all tasks of the coordinator. The backend is started only if there is work.

    Args:
        coordinator: Coordinator of the run.
        name: Name of the run.
        configs: One configuration per kind of trial, to measure the GPU memory of each kind.
        context: Resources and options of the run.

    Returns:
        Counters of the run.

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
