"""Check of a running cluster, the MLflow store and Optuna's database before a study."""

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
    """Check every node of a running cluster, the store and the database.

    Args:
        options: Addresses of the store, the database, the checkpoints and the cluster.
        data: Data sets that every node must have.

    Returns:
        Results for software, GPUs, checkpoints, clock and data of every node, and for the servers.

    Raises:
        ClusterError: If no cluster is running at the address.
    """
    store, database = open_store(options.tracking_uri), Database(choose_url(options.storage))
    services = check_services({"MLflow": lambda: store.client, "Optuna": lambda: database.storage})
    unique_data = list({config.model_dump_json(): config for config in data}.values())
    root = resolve_checkpoint_root(store.uri, options.checkpoints)
    with connect_to_cluster(options.address):
        return [*check_nodes(root, unique_data), *services]
