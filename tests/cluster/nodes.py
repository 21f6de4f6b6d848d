"""A Ray cluster of several nodes on this machine, for as long as standard input is open.

    RAY_TMPDIR=FOLDER python -m tests.cluster.nodes

The script prints the address of the cluster, and then one answer per input line:

- `add {"NAME": "VALUE"}` adds a node with these environment variables.
- `remove` stops the last node gracefully, and `kill` kills it.
- `trained` prints the number of nodes on which trials ran.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import ray
from ray._private.state import actors
from ray.cluster_utils import Cluster

NODES = 3
RESOURCES: dict[str, Any] = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 80_000_000}
HERE = {"node_ip_address": "127.0.0.1"}


def main() -> None:
    (Path(os.environ["RAY_TMPDIR"]) / "ray").mkdir(exist_ok=True)
    head = {**RESOURCES, **HERE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, connect=True, head_node_args=head)
    nodes = [cluster.add_node(**RESOURCES, **HERE) for _ in range(NODES - 1)]
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        command, _, given = line.strip().partition(" ")
        match command:
            case "add":
                nodes.append(cluster.add_node(**RESOURCES, **HERE, env_vars=json.loads(given)))
                answer = "added"
            case "remove" | "kill":
                cluster.remove_node(nodes.pop(), allow_graceful=command == "remove")
                answer = "gone"
            case _:
                trained = [
                    actor for actor in actors().values() if "Trainable" in actor["ActorClassName"]
                ]
                answer = str(len({actor["Address"]["NodeID"] for actor in trained}))
        print(answer, flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
