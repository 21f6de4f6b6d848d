"""`resources.gpu: auto`: how many trials fit a GPU, from a short try of each kind of them on one."""

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
"""Of a GPU's memory, which no trial gets."""
CONTEXT = 600 * 2**20
"""Bytes that a process takes on a GPU besides its tensors: the driver's context and the libraries' work space."""
_LOOK_SECONDS = 0.5
WAIT_SECONDS = 1800.0
"""How long a GPU may take to come, on a cluster that grows for it, and the try itself."""


def compute_gpu_share(total: int, peak: int) -> tuple[int, float]:
    """How many trials of such a peak fit a GPU of so many bytes, at least one, and the share of each, in the
    ten-thousandths that Ray counts in."""
    fit = max(1, int((1 - MARGIN) * total) // (peak + CONTEXT))
    return fit, math.floor(10_000 / fit) / 10_000


def resolve_gpu_share(
    resources: ResourcesConfig, configs: Sequence[TrialConfig], say: Callable[[str], None]
) -> ResourcesConfig:
    """The resources with the share that the largest of these trials takes, tried one after another on a GPU of the
    cluster that this process is connected to; as they are, where they name a share. Raises `ClusterError`."""
    if resources.gpu != "auto":
        return resources
    kinds = list({compute_trial_shape(config): config for config in configs}.values())
    say(f"resources.gpu is auto: trying {len(kinds)} kinds of trials on a GPU")
    tried = [_measure_trial(config, resources.cpu) for config in kinds]
    total, peak = min(total for total, _ in tried), max(peak for _, peak in tried)
    fit, share = compute_gpu_share(total, peak)
    gib = 2**30
    say(
        f"a trial takes {peak / gib:.2f} GiB at most of a GPU's {total / gib:.1f}: {fit} fit one with a margin of"
        f" {MARGIN:.0%}, and resources.gpu is {share:g}"
    )
    return resources.model_copy(update={"gpu": share})


def _measure_trial(config: TrialConfig, cpu: float) -> tuple[int, int]:
    import ray
    from ray.exceptions import RayError

    plain = config.model_dump(mode="json")
    answer = ray.remote(num_gpus=1, num_cpus=cpu, max_retries=0)(_measure_on_worker).remote(
        plain, collect_plugin_packages(flatten(plain))
    )
    deadline = time.monotonic() + WAIT_SECONDS
    while not ray.wait([answer], timeout=_LOOK_SECONDS)[0]:
        if is_stop_requested() or time.monotonic() > deadline:
            ray.cancel(answer, force=True)
            raise_if_stop_requested()
            raise ClusterError(
                f"resources.gpu: auto: no GPU was free for {WAIT_SECONDS / 60:.0f} minutes"
            )
    try:
        found: tuple[int, int] | str = ray.get(answer)
    except RayError as error:
        raise ClusterError(f"resources.gpu: auto: the try of a trial ended with {error}") from None
    if isinstance(found, str):
        raise ClusterError(f"resources.gpu: auto: {found}")
    return found


def _measure_on_worker(
    plain: dict[str, Any], packages: dict[str, tuple[str, str]]
) -> tuple[int, int] | str:
    """On a worker: bytes of its GPU, and of a trial's peak; or what is wrong."""
    from ibml.config.plugins.failures import describe_failure
    from ibml.training.gpu_probe import measure_gpu_memory

    try:
        allow_received_plugins(packages)
        return measure_gpu_memory(TrialConfig.model_validate(plain))
    except Exception as error:  # noqa: BLE001
        return describe_failure(error)
