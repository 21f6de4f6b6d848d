"""Whether a cluster can run a study: every node is asked, and what it says is compared with this machine's."""

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
"""How long a node may take, which first starts a process for it."""
DATA_SECONDS = 3600.0
"""How long where data sets are looked at, which reads all files where nobody has before."""
CLOCK_SECONDS = 5.0
"""By how much clocks may differ: leases and journals are compared by them."""

ANSWER = "answer"
"""What a node that is silent is wrong about."""

State = Literal["ok", "note", "wrong"]

_LOOK_SECONDS = 0.5
"""How often it is looked whether the check is to stop."""


@dataclass(frozen=True)
class CheckResult:
    """What was found of one thing on one node, and what to do about it where it is wrong."""

    node: str
    about: str
    state: State
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.node}: {self.about}: {self.text}{f'; {self.fix}' if self.fix else ''}"


@dataclass(frozen=True)
class Node:
    """A node of the cluster: how it is called, the GPUs that Ray counts there, what it says of itself (None: nothing),
    and by how many seconds its clock is ahead of ours, with how far that may be wrong."""

    name: str
    gpus: float
    facts: Mapping[str, Any] | None
    ahead: float = 0.0
    give: float = 0.0


def check_nodes(folder: StoragePath, data: Sequence[DataConfig] = ()) -> list[CheckResult]:
    """Ask every node of the cluster that this process is connected to. `folder` is that of the checkpoints."""
    plain = [config.model_dump(mode="json") for config in data]
    with _create_marker_file(folder) as mark:
        sets = [(config, collect_plugin_packages(flatten({"data": config}))) for config in plain]
        asked = {"folder": str(folder), "mark": str(mark), "data": sets}
        here = node_probe.facts(asked)
        nodes = _probe_nodes(asked, DATA_SECONDS if data else ANSWER_SECONDS)
    if not nodes:
        raise ClusterError("the cluster has no node that is alive")
    return [finding for node in nodes for finding in evaluate_node(node, here, data, len(nodes))]


def refuse_unfit_nodes(folder: StoragePath, say: Callable[[str], None]) -> None:
    """The checks that take seconds, before a study: raises `ClusterError` for what is wrong, and says what may be. A
    node that does not answer, as one that was lost a moment ago, is done without while there are others."""
    found = check_nodes(folder)
    silent = [finding for finding in found if finding.about == ANSWER]
    wrong = [str(finding) for finding in found if finding.state == "wrong"]
    if wrong and not (len(wrong) == len(silent) < len(found)):
        raise ClusterError(
            "\n".join(["the cluster cannot run this (ibml cluster check has more):", *wrong])
        )
    notes = [
        f"Note: {finding.text}; {finding.fix}." for finding in found if finding.state == "note"
    ]
    for text in dict.fromkeys([*(f"Note: {finding}." for finding in silent), *notes]):
        say(text)


def evaluate_node(
    node: Node, here: Mapping[str, Any], data: Sequence[DataConfig], nodes: int
) -> Iterator[CheckResult]:
    """What a node's facts mean beside those of this machine, in a cluster of so many nodes."""
    facts = node.facts
    if facts is None:
        fix = "look at it with: ray status, and at its log in /tmp/ray/session_latest/logs"
        yield CheckResult(
            node.name,
            ANSWER,
            "wrong",
            "none: it is down, out of reach, or has no room for a process",
            fix,
        )
        return
    name = node.name
    yield _check_versions(name, facts, here)
    yield _check_gpus(node, facts)
    yield from _check_storage(name, facts, nodes)
    yield _check_clock(node)
    for position, config in enumerate(data):
        yield _check_data(name, config.type, facts["data"][position], here["data"][position])


def _check_versions(name: str, facts: Mapping[str, Any], here: Mapping[str, Any]) -> CheckResult:
    theirs = {"Python": facts["python"], **facts["versions"], "code": facts["revision"]}
    ours = {"Python": here["python"], **here["versions"], "code": here["revision"]}
    other = [
        f"{what} is {theirs[what].lstrip('!')}, here {ours[what]}"
        for what in ours
        if theirs[what] != ours[what]
    ]
    if other:
        fix = "install the same there (setup_commands of the cluster's file), and restart Ray"
        return CheckResult(name, "versions", "wrong", ", ".join(other), fix)
    shown = ", ".join(
        f"{what} {value}"
        for what, value in theirs.items()
        if what in ("Python", "ibml", "torch", "ray")
    )
    return CheckResult(name, "versions", "ok", shown)


def _check_gpus(node: Node, facts: Mapping[str, Any]) -> CheckResult:
    found = [
        f"{name}, {free / 1024:.0f} of {total / 1024:.0f} GiB free"
        for name, total, free in facts["gpus"]
    ]
    shown = "; ".join(found) or "none"
    if node.gpus and not facts["gpus"]:
        text = f"Ray counts {node.gpus:g}, and nvidia-smi finds none"
        fix = "the driver is missing there, or its ray start counts too many by --num-gpus"
        return CheckResult(node.name, "GPUs", "note", text, fix)
    if node.gpus and not facts["cuda"]:
        fix = "install the CUDA build of torch there"
        return CheckResult(
            node.name, "GPUs", "wrong", f"{shown}, but torch is a build for CPUs", fix
        )
    return CheckResult(node.name, "GPUs", "ok", shown)


def _check_storage(name: str, facts: Mapping[str, Any], nodes: int) -> Iterator[CheckResult]:
    if facts["written"]:
        fix = "give --checkpoints a place that every node may write to; for s3:// and gs:// with their keys"
        yield CheckResult(
            name, "checkpoints", "wrong", f"cannot be written: {facts['written'].lstrip('!')}", fix
        )
    elif nodes > 1 and not facts["seen"]:
        text = "the folder of checkpoints is not the same on all nodes, so that a trial whose node dies begins again"
        yield CheckResult(
            name, "checkpoints", "note", text, "give --checkpoints a folder that all share"
        )
    else:
        yield CheckResult(
            name, "checkpoints", "ok", "can be written" + (", and is shared" if nodes > 1 else "")
        )


def _check_clock(node: Node) -> CheckResult:
    text = f"{abs(node.ahead):.1f} s {'ahead' if node.ahead > 0 else 'behind'}, within {node.give:.1f} s"
    if abs(node.ahead) - node.give > CLOCK_SECONDS:
        return CheckResult(
            node.name, "clock", "wrong", text, "set it by NTP (timedatectl set-ntp true)"
        )
    return CheckResult(node.name, "clock", "ok", text)


def _check_data(name: str, kind: str, theirs: str, ours: str) -> CheckResult:
    about = f"data {kind}"
    if theirs.startswith("!"):
        fix = "copy it there, to the same root, or name the folder of data sets with IBML_DATA before ray start"
        return CheckResult(name, about, "wrong", theirs[1:], fix)
    if ours.startswith("!"):
        return CheckResult(
            name,
            about,
            "note",
            f"fingerprint {theirs[:12]}; this machine cannot compare: {ours[1:]}",
        )
    if theirs != ours:
        text = f"its content differs from this machine's: {theirs[:12]} there, {ours[:12]} here"
        return CheckResult(name, about, "wrong", text, "copy the same files to both")
    return CheckResult(name, about, "ok", f"the same as here, {ours[:12]}")


@contextmanager
def _create_marker_file(folder: StoragePath) -> Iterator[StoragePath]:
    """A file in the folder of checkpoints for as long as nodes look for it; none where this machine cannot write it."""
    mark = folder / f"seen-{secrets.token_hex(8)}"
    before = (
        [place for place in (folder, *folder.parents) if not place.exists()]
        if isinstance(folder, Path)
        else []
    )
    with suppress(OSError):
        if isinstance(folder, Path):
            folder.mkdir(parents=True, exist_ok=True)
        mark.write_bytes(b"")
    try:
        yield mark
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)
            for place in before:
                place.rmdir()


def _probe_nodes(asked: Mapping[str, Any], seconds: float) -> list[Node]:
    """What the nodes that are alive say, all at once, within so many seconds."""
    import ray
    from ray import cloudpickle
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cloudpickle.register_pickle_by_value(node_probe)
    try:
        probe = ray.remote(num_cpus=0, max_retries=0)(node_probe.facts)
        alive = [node for node in ray.nodes() if node["Alive"]]
        began = {}
        for node in alive:
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            began[probe.options(scheduling_strategy=where).remote(asked)] = node
        found, deadline, before = [], time.monotonic() + seconds, time.time()
        waiting = list(began)
        while waiting and time.monotonic() < deadline:
            raise_if_stop_requested()
            answered, waiting = ray.wait(
                waiting, timeout=min(_LOOK_SECONDS, max(0.0, deadline - time.monotonic()))
            )
            for answer in answered:
                facts = None
                with suppress(RayError):
                    facts = ray.get(answer)
                found.append(_build_node(began[answer], facts, before, time.time()))
        for answer in waiting:
            ray.cancel(answer, force=True)
            found.append(_build_node(began[answer], None, before, before))
    finally:
        cloudpickle.unregister_pickle_by_value(node_probe)
    return sorted(found, key=lambda node: node.name)


def _build_node(
    node: Mapping[str, Any], facts: Mapping[str, Any] | None, before: float, after: float
) -> Node:
    """Its clock was read after `before`, and so long as the rest took until `after`."""
    host = facts["host"] if facts else node.get("NodeManagerHostname", "")
    name = f"{host} ({node['NodeManagerAddress']})"
    gpus = node["Resources"].get("GPU", 0.0)
    if facts is None:
        return Node(name, gpus, None)
    latest = after - facts["took"]
    return Node(name, gpus, facts, facts["clock"] - (before + latest) / 2, (latest - before) / 2)


def check_services(opened: Mapping[str, Callable[[], object]]) -> list[CheckResult]:
    """Whether this machine reaches what is opened by each call."""
    found = []
    for about, call in opened.items():
        try:
            call()
        except IbmlError as error:
            found.append(
                CheckResult(
                    "this machine", about, "wrong", str(error), "start it, or name the right one"
                )
            )
        else:
            found.append(CheckResult("this machine", about, "ok", "answers"))
    return found
