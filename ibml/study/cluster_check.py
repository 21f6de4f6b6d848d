"""Checks whether a running cluster, the store and the database can run a study."""

from __future__ import annotations

from collections.abc import Iterable

from ibml.config.data import DataConfig
from ibml.queries import open_store
from ibml.search.database import Database, choose_url
from ibml.study.options import RunOptions
from ibml.study.ray.cluster import connect_to_cluster
from ibml.study.ray.health_check import CheckResult, check_nodes, check_services
from ibml.tracking.workspace import resolve_checkpoint_root


def check_cluster(options: RunOptions, data: Iterable[DataConfig] = ()) -> list[CheckResult]:
    """Check every node of a running cluster, and the servers.

    Args:
        options: Where the store, the database, the checkpoints and the cluster are.
        data: Data sets that every node must have.

    Returns:
        Findings about software, GPUs, checkpoints, clock and data of every node, and about the store and the database.

    Raises:
        ClusterError: If there is no cluster.
    """
    store, database = open_store(options.tracking_uri), Database(choose_url(options.storage))
    services = check_services({"MLflow": lambda: store.client, "Optuna": lambda: database.storage})
    different = list({config.model_dump_json(): config for config in data}.values())
    with connect_to_cluster(options.address):
        return [
            *check_nodes(resolve_checkpoint_root(store.uri, options.checkpoints), different),
            *services,
        ]
