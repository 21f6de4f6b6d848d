"""Where the trials of a driver are trained."""

from __future__ import annotations

from collections.abc import Sequence

from ibml.config.resources import ResourcesConfig
from ibml.config.trial import TrialConfig
from ibml.study.engine.coordinator import Driver
from ibml.study.engine.run_summary import Outcome
from ibml.study.ray.cluster import ray_environment


def run_driver(
    driver: Driver, name: str, resources: ResourcesConfig, address: str | None, configs: Sequence[TrialConfig]
) -> Outcome:
    """Train what the driver has with Ray, which is not started where there is nothing to train; `configs` are what its
    trials are like."""
    with driver:
        if driver.has_work():
            with ray_environment(address):
                from ibml.study.ray.backend import run_tasks

                run_tasks(name, resources, driver, address, configs)
    if driver.error:
        raise driver.error
    return driver.outcome
