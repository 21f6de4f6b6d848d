"""Checks of all files in `cluster/`: tokens, listening addresses, and the README."""

from __future__ import annotations

import re

import pytest

from tests.cluster.shipped import CLUSTER

FILES = sorted(path for path in CLUSTER.rglob("*") if path.is_file())
PROGRAMS = [path for path in FILES if path.suffix != ".md"]


def without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def test_wherever_ray_is_started_its_tokens_are_on():
    starting = [
        path for path in PROGRAMS if re.search(r"\bray start\b", without_comments(path.read_text()))
    ]
    assert {path.name for path in starting} == {
        "aws.yaml",
        "gcp.yaml",
        "onprem.yaml",
        "ibml.sbatch",
    }
    for path in starting:
        text = path.read_text()
        if path.suffix == ".yaml":  # `ray start` of head and worker, each with the mode before it
            assert len(re.findall(r"RAY_AUTH_MODE=token ray start\b", text)) == 2
            assert len(re.findall(r"\bray start\b", without_comments(text))) == 2
        else:
            assert text.index("export RAY_AUTH_MODE=token") < text.index("ray start")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_nothing_outside_a_container_listens_to_all(path):
    text = without_comments(path.read_text())
    inside = {
        "raycluster.yaml": "dashboard-host: ",
        "rayjob.yaml": "dashboard-host: ",
        "compose.yaml": "--host, ",
    }
    if path.name in inside:  # of a container's own network
        text = text.replace(inside[path.name] + "0.0.0.0", "")
    assert not re.search(r"(?<![\d.])0[.]0[.]0[.]0", text)
    assert "[::]" not in text


def test_the_readme_names_every_file_and_no_other():
    text = (CLUSTER / "README.md").read_text()
    linked = set(re.findall(r"\]\(([^)#]+)\)", text))
    assert all((CLUSTER / link).exists() for link in linked)
    for path in PROGRAMS:
        ways = {str(path.relative_to(CLUSTER)), str(path.parent.relative_to(CLUSTER))} - {"."}
        assert ways & linked, path.name


def test_the_readmes_costs_are_its_arithmetic():
    text = (CLUSTER / "README.md").read_text()
    hours = 100 * 12 / (4 * 4) / 60 + 0.25
    assert "100 x 12 / 16 / 60 + 0.25 = 1.5 hours" in text
    assert hours == 1.5
    for worker, cost in ((0.20, "1.43 $"), (0.526, "3.39 $")):
        assert f"{hours * (0.096 + 4 * worker + 550 * 0.08 / 730):.2f} $" == cost
        assert cost in text
