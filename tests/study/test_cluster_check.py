"""Comparison of the facts of a node with those of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ibml.data.sets.mfeat.config import MfeatConfig
from ibml.study.ray import health_check, node_probe
from ibml.study.ray.cluster import ClusterError
from ibml.study.ray.health_check import (
    ANSWER,
    CheckResult,
    Node,
    check_services,
    evaluate_node,
    refuse_unfit_nodes,
)

DATA = [MfeatConfig()]


@pytest.fixture
def here(tmp_path: Path) -> dict[str, Any]:
    asked = {"folder": str(tmp_path / "new" / "folder"), "mark": str(tmp_path / "mark"), "data": []}
    return {**node_probe.collect_facts(asked), "data": ["f" * 64], "seen": True}


def found(node: Node, here: dict[str, Any], nodes: int = 3) -> dict[str, tuple[str, str, str]]:
    return {
        one.about: (one.state, one.text, one.fix) for one in evaluate_node(node, here, DATA, nodes)
    }


def test_the_same_machine_is_fine(here: dict[str, Any]) -> None:
    said = found(Node("a", 0, here), here)
    assert {state for state, _, _ in said.values()} == {"ok"}
    assert set(said) == {"versions", "GPUs", "checkpoints", "clock", "data mfeat"}
    assert not (Path(here["written"]) / "new").exists()


@pytest.mark.parametrize(
    ("change", "gpus", "about", "state", "words"),
    [
        ({"python": "3.9.1"}, 0, "versions", "wrong", "Python is 3.9.1, here"),
        ({"revision": "other"}, 0, "versions", "wrong", "code is other, here"),
        ({"gpus": [], "cuda": ""}, 1, "GPUs", "note", "Ray counts 1, and nvidia-smi finds none"),
        (
            {"gpus": [("T4", 16384, 15360)], "cuda": ""},
            1,
            "GPUs",
            "wrong",
            "torch is a build for CPUs",
        ),
        (
            {"gpus": [("T4", 16384, 15360)], "cuda": "12.8"},
            1,
            "GPUs",
            "ok",
            "T4, 15 of 16 GiB free",
        ),
        (
            {"written": "!/nowhere: Permission denied"},
            0,
            "checkpoints",
            "wrong",
            "Permission denied",
        ),
        ({"seen": False}, 0, "checkpoints", "note", "is not the same on all nodes"),
        ({"data": ["!DataError: where is it?"]}, 0, "data mfeat", "wrong", "where is it?"),
        ({"data": ["e" * 64]}, 0, "data mfeat", "wrong", "its content differs"),
    ],
)
def test_what_differs_is_named(
    here: dict[str, Any], change: dict[str, Any], gpus: float, about: str, state: str, words: str
) -> None:
    said = found(Node("a", gpus, {**here, **change}), here)
    assert said[about][0] == state
    assert words in said[about][1]
    assert said[about][2] or state == "ok", "there is a fix"
    assert all(other == "ok" for name, (other, _, _) in said.items() if name != about)


def test_a_clock_is_wrong_by_what_is_certain(here: dict[str, Any]) -> None:
    assert (
        found(Node("a", 0, here, clock_offset=9, clock_uncertainty=1), here)["clock"][0] == "wrong"
    )
    assert (
        found(Node("a", 0, here, clock_offset=-9, clock_uncertainty=1), here)["clock"][0] == "wrong"
    )
    assert found(Node("a", 0, here, clock_offset=9, clock_uncertainty=5), here)["clock"][0] == "ok"


def test_a_missing_package_a_silent_node_and_data_that_is_only_there(here: dict[str, Any]) -> None:
    versions = {**here["versions"], "torch": "!not installed"}
    assert (
        "torch is not installed, here"
        in found(Node("a", 0, {**here, "versions": versions}), here)["versions"][1]
    )
    silent = found(Node("a", 0, None), here)
    assert list(silent) == ["answer"]
    assert silent["answer"][0] == "wrong"
    assert "ray status" in silent["answer"][2]
    only_there = found(Node("a", 0, here), {**here, "data": ["!nothing here"]})
    assert only_there["data mfeat"][0] == "note"


def test_the_folder_of_a_single_node_need_not_be_shared(here: dict[str, Any]) -> None:
    assert found(Node("a", 0, {**here, "seen": False}), here, nodes=1)["checkpoints"][0] == "ok"


def test_a_lost_node_does_not_stop_a_study_and_another_version_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = CheckResult("b", ANSWER, "wrong", "none", "look at it")
    said: list[str] = []
    for others, refused in (
        ([CheckResult("a", "clock", "ok", "")], False),
        ([CheckResult("a", "checkpoints", "note", "not shared", "share it")], False),
        ([CheckResult("a", "versions", "wrong", "torch is another")], True),
        ([], True),
    ):
        monkeypatch.setattr(
            health_check, "check_nodes", lambda folder, found=others: [*found, silent]
        )
        if refused:
            with pytest.raises(ClusterError, match="cannot run this"):
                refuse_unfit_nodes(Path(), said.append)
        else:
            refuse_unfit_nodes(Path(), said.append)
    assert said == [
        "Note: b: answer: none; look at it.",
        "Note: b: answer: none; look at it.",
        "Note: not shared; share it.",
    ]


def test_a_service_that_does_not_answer_is_wrong() -> None:
    def fails() -> None:
        raise ClusterError("nothing listens there")

    good, bad = check_services({"MLflow": lambda: None, "Optuna": fails})
    assert good.state == "ok"
    assert bad.state == "wrong"
    assert "nothing listens there" in bad.text
    assert bad.fix
