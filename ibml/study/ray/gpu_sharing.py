"""GPU sharing with `resources.gpu: auto`: measure how many trials fit a GPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from ibml.common.processes.interruption import is_stop_requested, raise_if_stop_requested
from ibml.config.plugins.plugin_config import allow_received_plugins, collect_plugin_packages
from ibml.config.resources import ResourcesConfig
from ibml.config.trial import TrialConfig, flatten
from ibml.study.planning.keys import compute_trial_shape
from ibml.study.ray.cluster import ClusterError

MARGIN = 0.1
"""Fraction of a GPU's memory that is not used."""
CONTEXT = 600 * 2**20
"""GPU memory of a process besides its tensors, in bytes: driver context and library workspace."""
_POLL_SECONDS = 0.5
WAIT_SECONDS = 1800.0
"""Time limit for a measurement, including the wait for a GPU on a cluster that scales up."""


def compute_gpu_share(total: int, peak: int) -> tuple[int, float]:
    """Compute how many trials fit a GPU.

    Args:
        total: Memory of the GPU in bytes.
        peak: Peak memory of a trial's tensors in bytes.

    Returns:
        The number of trials, at least 1, and the share of each, rounded down to Ray's resolution
        of 1/10,000.
    """
    fit = max(1, int((1 - MARGIN) * total) // (peak + CONTEXT))
    return fit, math.floor(10_000 / fit) / 10_000


def resolve_gpu_share(
    resources: ResourcesConfig, configs: Sequence[TrialConfig], say: Callable[[str], None]
) -> ResourcesConfig:
    """Replace `gpu: auto` by the GPU share of the largest trial.

    Each kind of trial is measured on a GPU of the connected cluster, one after another.

    Args:
        resources: Resources of one trial.
        configs: Configurations of the trials.
        say: Prints a message.

    Returns:
        The resources; unchanged if they specify a share.

    Raises:
        ClusterError: If no GPU becomes available, or if a trial fails.
    """
    if resources.gpu != "auto":
        return resources
    kinds = list({compute_trial_shape(config): config for config in configs}.values())
    say(f"resources.gpu is auto: measuring the memory of {len(kinds)} kinds of trials on a GPU")
    totals, peaks = zip(*[_measure_trial(config, resources.cpu) for config in kinds], strict=True)
    total, peak = min(totals), max(peaks)
    fit, share = compute_gpu_share(total, peak)
    gib = 2**30
    say(
        f"a trial takes at most {peak / gib:.2f} GiB of a GPU's {total / gib:.1f} GiB:"
        f" {fit} fit one with a margin of {MARGIN:.0%}, so resources.gpu is {share:g}"
    )
    return resources.model_copy(update={"gpu": share})


def _measure_trial(config: TrialConfig, cpu: float) -> tuple[int, int]:
    """Return the memory of a GPU and the peak memory of a trial on it, in bytes."""
    import ray
    from ray.exceptions import RayError

    plain = config.model_dump(mode="json")
    measure = ray.remote(num_gpus=1, num_cpus=cpu, max_retries=0)(_measure_on_worker)
    answer = measure.remote(plain, collect_plugin_packages(flatten(plain)))
    deadline = time.monotonic() + WAIT_SECONDS
    while not ray.wait([answer], timeout=_POLL_SECONDS)[0]:
        if is_stop_requested() or time.monotonic() > deadline:
            ray.cancel(answer, force=True)
            raise_if_stop_requested()
            raise ClusterError(
                f"resources.gpu: auto: no GPU was free for {WAIT_SECONDS / 60:.0f} minutes;"
                " set resources.gpu to a number, or add GPUs"
            )
    try:
        found: tuple[int, int] | str = ray.get(answer)
    except RayError as error:
        raise ClusterError(f"resources.gpu: auto: a trial failed on a GPU: {error}") from None
    if isinstance(found, str):
        raise ClusterError(f"resources.gpu: auto: {found}")
    return found


def _measure_on_worker(
    plain: dict[str, Any], packages: dict[str, tuple[str, str]]
) -> tuple[int, int] | str:
    """Measure a trial in a Ray task; return (memory of the GPU, peak) in bytes, or an error."""
    from ibml.config.plugins.failures import describe_failure
    from ibml.training.gpu_probe import measure_gpu_memory

    try:
        allow_received_plugins(packages)
        return measure_gpu_memory(TrialConfig.model_validate(plain))
    except Exception as error:  # noqa: BLE001
        return describe_failure(error)
