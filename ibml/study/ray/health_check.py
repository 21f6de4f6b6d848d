"""Health check of a cluster: compare every node with this machine before a study."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ibml.common.errors import IbmlError
from ibml.common.processes.interruption import raise_if_stop_requested
from ibml.common.storage import StoragePath
from ibml.config.data import DataConfig
from ibml.config.plugins.plugin_config import collect_plugin_packages
from ibml.config.trial import flatten
from ibml.study.ray import node_probe
from ibml.study.ray.cluster import ClusterError

ANSWER_SECONDS = 60.0
"""Time limit for the answer of a node, which first starts a process."""
DATA_SECONDS = 3600.0
"""Time limit if data sets are checked; a node reads all files when it checks them first."""
CLOCK_SECONDS = 5.0
"""Maximum difference of clocks, since leases and journals are ordered by time."""

ANSWER = "answer"
"""Subject of the result for a node that does not answer."""

State = Literal["ok", "note", "wrong"]

_POLL_SECONDS = 0.5
"""Interval at which stop signals are checked."""


@dataclass(frozen=True)
class CheckResult:
    """Result of one check on one node.

    Attributes:
        node: Name of the node.
        about: Subject of the check, for example "GPUs".
        state: "ok", "note" for a possible problem, or "wrong".
        text: Finding.
        fix: Instruction that fixes a problem.
    """

    node: str
    about: str
    state: State
    text: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.node}: {self.about}: {self.text}"
        if self.fix:
            text += f"; {self.fix}"
        return text


@dataclass(frozen=True)
class Node:
    """A node of the cluster.

    Attributes:
        name: Host name and address.
        gpus: Number of GPUs according to Ray.
        facts: Facts from `node_probe.collect_facts`; None if the node did not answer.
        clock_offset: Seconds by which its clock is ahead of this machine's clock.
        clock_uncertainty: Uncertainty of the offset in seconds.
    """

    name: str
    gpus: float
    facts: Mapping[str, Any] | None
    clock_offset: float = 0.0
    clock_uncertainty: float = 0.0


def check_nodes(folder: StoragePath, data: Sequence[DataConfig] = ()) -> list[CheckResult]:
    """Check every node of the cluster that this process is connected to.

    Args:
        folder: Folder or bucket of the checkpoints.
        data: Data sets that every node must have.

    Returns:
        The results of all nodes.

    Raises:
        ClusterError: If the cluster has no node that is alive.
    """
    plain = [config.model_dump(mode="json") for config in data]
    with _create_marker_file(folder) as mark:
        sets = [(config, collect_plugin_packages(flatten({"data": config}))) for config in plain]
        request = {"folder": str(folder), "mark": str(mark), "data": sets}
        here = node_probe.collect_facts(request)
        nodes = _probe_nodes(request, DATA_SECONDS if data else ANSWER_SECONDS)
    if not nodes:
        raise ClusterError("the cluster has no node that is alive; restart it with ray start")
    results: list[CheckResult] = []
    for node in nodes:
        results += evaluate_node(node, here, data, len(nodes))
    return results


def refuse_unfit_nodes(folder: StoragePath, say: Callable[[str], None]) -> None:
    """Run the fast checks before a study, and print notes about possible problems.

    A node that does not answer, for example because it was just lost, is tolerated if there are
    other nodes.

    Args:
        folder: Folder or bucket of the checkpoints.
        say: Prints a message.

    Raises:
        ClusterError: If a check finds a problem.
    """
    results = check_nodes(folder)
    silent = [result for result in results if result.about == ANSWER]
    wrong = [str(result) for result in results if result.state == "wrong"]
    only_silent = len(wrong) == len(silent) < len(results)
    if wrong and not only_silent:
        head = "the cluster cannot run this (details: ibml cluster check):"
        raise ClusterError("\n".join([head, *wrong]))
    messages = [f"Note: {result}." for result in silent]
    for result in results:
        if result.state == "note":
            messages.append(f"Note: {result.text}; {result.fix}.")
    for text in dict.fromkeys(messages):
        say(text)


def evaluate_node(
    node: Node, here: Mapping[str, Any], data: Sequence[DataConfig], nodes: int
) -> Iterator[CheckResult]:
    """Compare a node's facts with those of this machine.

    Args:
        node: The node.
        here: Facts about this machine.
        data: Data sets that were checked.
        nodes: Number of nodes in the cluster.

    Yields:
        The results.
    """
    facts = node.facts
    if facts is None:
        text = "none: it is down, unreachable, or cannot start a process"
        fix = "see ray status, and its log in /tmp/ray/session_latest/logs"
        yield CheckResult(node.name, ANSWER, "wrong", text, fix)
        return
    name = node.name
    yield _check_versions(name, facts, here)
    yield _check_gpus(node, facts)
    yield _check_storage(name, facts, nodes)
    yield _check_clock(node)
    for position, config in enumerate(data):
        yield _check_data(name, config.type, facts["data"][position], here["data"][position])


def _check_versions(name: str, facts: Mapping[str, Any], here: Mapping[str, Any]) -> CheckResult:
    """Compare the versions of Python, the packages and the code."""
    theirs = {"Python": facts["python"], **facts["versions"], "code": facts["revision"]}
    ours = {"Python": here["python"], **here["versions"], "code": here["revision"]}
    different = []
    for subject, our_version in ours.items():
        if theirs[subject] != our_version:
            different.append(f"{subject} is {theirs[subject].lstrip('!')}, here {our_version}")
    if different:
        fix = "install the same there (setup_commands of the cluster's file), and restart Ray"
        return CheckResult(name, "versions", "wrong", ", ".join(different), fix)
    shown = [f"{subject} {theirs[subject]}" for subject in ("Python", "ibml", "torch", "ray")]
    return CheckResult(name, "versions", "ok", ", ".join(shown))


def _check_gpus(node: Node, facts: Mapping[str, Any]) -> CheckResult:
    """Check that the GPUs that Ray counts have a driver and a CUDA build of torch."""
    gpus = []
    for name, total, free in facts["gpus"]:
        gpus.append(f"{name}, {free / 1024:.0f} of {total / 1024:.0f} GiB free")
    shown = "; ".join(gpus) or "none"
    if node.gpus and not facts["gpus"]:
        text = f"Ray counts {node.gpus:g}, and nvidia-smi finds none"
        fix = "install the driver there, or correct --num-gpus of its ray start"
        return CheckResult(node.name, "GPUs", "note", text, fix)
    if node.gpus and not facts["cuda"]:
        text = f"{shown}, but torch is a build for CPUs"
        fix = "install the CUDA build of torch there"
        return CheckResult(node.name, "GPUs", "wrong", text, fix)
    return CheckResult(node.name, "GPUs", "ok", shown)


def _check_storage(name: str, facts: Mapping[str, Any], nodes: int) -> CheckResult:
    """Check that the folder of checkpoints is writable and shared by all nodes."""
    about = "checkpoints"
    if facts["written"]:
        text = f"cannot be written: {facts['written'].lstrip('!')}"
        fix = (
            "set --checkpoints to a folder or bucket that every node can write to;"
            " s3:// and gs:// need credentials on the nodes"
        )
        return CheckResult(name, about, "wrong", text, fix)
    if nodes > 1 and not facts["seen"]:
        text = (
            "the folder of checkpoints is not the same on all nodes,"
            " so a trial starts from the beginning if its node is lost"
        )
        return CheckResult(name, about, "note", text, "set --checkpoints to a shared folder")
    text = "can be written, and is shared" if nodes > 1 else "can be written"
    return CheckResult(name, about, "ok", text)


def _check_clock(node: Node) -> CheckResult:
    """Check that a node's clock differs little from this machine's."""
    direction = "ahead" if node.clock_offset > 0 else "behind"
    text = f"{abs(node.clock_offset):.1f} s {direction}, within {node.clock_uncertainty:.1f} s"
    if abs(node.clock_offset) - node.clock_uncertainty > CLOCK_SECONDS:
        fix = "set it by NTP (timedatectl set-ntp true)"
        return CheckResult(node.name, "clock", "wrong", text, fix)
    return CheckResult(node.name, "clock", "ok", text)


def _check_data(name: str, kind: str, theirs: str, ours: str) -> CheckResult:
    """Compare the fingerprints of a data set on a node and on this machine."""
    about = f"data {kind}"
    if theirs.startswith("!"):
        fix = (
            "copy it to the same root there,"
            " or set IBML_DATA to the folder of data sets before ray start"
        )
        return CheckResult(name, about, "wrong", theirs[1:], fix)
    if ours.startswith("!"):
        text = f"fingerprint {theirs[:12]}; this machine cannot compare: {ours[1:]}"
        return CheckResult(name, about, "note", text)
    if theirs != ours:
        text = f"its content differs from this machine's: {theirs[:12]} there, {ours[:12]} here"
        return CheckResult(name, about, "wrong", text, "copy the same files to both")
    return CheckResult(name, about, "ok", f"the same as here, {ours[:12]}")


@contextmanager
def _create_marker_file(folder: StoragePath) -> Iterator[StoragePath]:
    """Create a file in the folder of checkpoints that nodes look for, if the folder is writable."""
    mark = folder / f"seen-{secrets.token_hex(8)}"
    created: list[Path] = []
    if isinstance(folder, Path):
        created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    with suppress(OSError):
        if isinstance(folder, Path):
            folder.mkdir(parents=True, exist_ok=True)
        mark.write_bytes(b"")
    try:
        yield mark
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)
            for parent in created:
                parent.rmdir()


def _probe_nodes(request: Mapping[str, Any], seconds: float) -> list[Node]:
    """Collect the facts of all live nodes concurrently, within a time limit in seconds."""
    import ray
    from ray import cloudpickle
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cloudpickle.register_pickle_by_value(node_probe)
    try:
        probe = ray.remote(num_cpus=0, max_retries=0)(node_probe.collect_facts)
        alive = [node for node in ray.nodes() if node["Alive"]]
        nodes = {}
        for node in alive:
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            nodes[probe.options(scheduling_strategy=where).remote(request)] = node
        found: list[Node] = []
        deadline, before = time.monotonic() + seconds, time.time()
        waiting = list(nodes)
        while waiting and time.monotonic() < deadline:
            raise_if_stop_requested()
            timeout = min(_POLL_SECONDS, max(0.0, deadline - time.monotonic()))
            answered, waiting = ray.wait(waiting, timeout=timeout)
            for answer in answered:
                facts = None
                with suppress(RayError):
                    facts = ray.get(answer)
                found.append(_build_node(nodes[answer], facts, before, time.time()))
        for answer in waiting:
            ray.cancel(answer, force=True)
            found.append(_build_node(nodes[answer], None, before, before))
    finally:
        cloudpickle.unregister_pickle_by_value(node_probe)
    return sorted(found, key=lambda node: node.name)


def _build_node(
    node: Mapping[str, Any], facts: Mapping[str, Any] | None, before: float, after: float
) -> Node:
    """Return a node with the offset of its clock.

    Args:
        node: The node's entry in `ray.nodes()`.
        facts: Its facts; None if it did not answer.
        before: Time before the request, by this machine's clock.
        after: Time after the answer, by this machine's clock.

    Returns:
        The node.
    """
    host = facts["host"] if facts else node.get("NodeManagerHostname", "")
    name = f"{host} ({node['NodeManagerAddress']})"
    gpus = node["Resources"].get("GPU", 0.0)
    if facts is None:
        return Node(name, gpus, None)
    # The node read its clock between `before` and `latest`.
    latest = after - facts["took"]
    offset = facts["clock"] - (before + latest) / 2
    return Node(name, gpus, facts, offset, (latest - before) / 2)


def check_services(opened: Mapping[str, Callable[[], object]]) -> list[CheckResult]:
    """Check that this machine reaches services.

    Args:
        opened: Name of a service -> function that connects to it.

    Returns:
        One result per service.
    """
    node = "this machine"
    results = []
    for about, connect in opened.items():
        try:
            connect()
        except IbmlError as error:
            fix = "start it, or correct its address"
            results.append(CheckResult(node, about, "wrong", str(error), fix))
        else:
            results.append(CheckResult(node, about, "ok", "answers"))
    return results
