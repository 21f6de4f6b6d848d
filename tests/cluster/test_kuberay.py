"""The manifests for KubeRay: requirements of its API, tokens, numbers of GPUs, and open ports."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.cluster.shipped import CLUSTER
from tests.conftest import ROOT

FILES = ("raycluster", "rayjob")


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((CLUSTER / "kuberay" / f"{name}.yaml").read_text()))


def cluster(name: str) -> dict:
    (document,) = [d for d in documents(name) if d["kind"] in {"RayCluster", "RayJob"}]
    return (
        document["spec"] if document["kind"] == "RayCluster" else document["spec"]["rayClusterSpec"]
    )


def groups(name: str) -> list[dict]:
    return [cluster(name)["headGroupSpec"], *cluster(name)["workerGroupSpecs"]]


@pytest.mark.parametrize(("name", "kind"), [("raycluster", "RayCluster"), ("rayjob", "RayJob")])
def test_the_manifest_is_of_kuberays_first_version(name, kind):
    (document,) = [d for d in documents(name) if d["kind"] == kind]
    assert document["apiVersion"] == "ray.io/v1"
    assert re.fullmatch(
        "[a-z]([-a-z0-9]{0,45}[a-z0-9])?", document["metadata"]["name"]
    )  # DNS-1035, KubeRay's limit of 47


@pytest.mark.parametrize("name", FILES)
def test_what_kuberay_requires_is_there(name):
    head, *workers = groups(name)
    assert workers
    for group in (head, *workers):
        assert isinstance(group["rayStartParams"], dict)
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert container["name"]
        assert container["image"]
        # v2 of the autoscaler allows no other policy
        assert group["template"]["spec"]["restartPolicy"] == "Never"
    for group in workers:
        assert group["groupName"]
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_a_job_has_an_entrypoint_and_ends_its_cluster():
    (job,) = documents("rayjob")
    assert job["spec"]["entrypoint"].startswith("ibml ablate ")
    study = re.search(r"/opt/ibml/(\S+)", job["spec"]["entrypoint"])
    assert (ROOT / study.group(1)).is_file()
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert job["spec"]["ttlSecondsAfterFinished"] > 0


@pytest.mark.parametrize("name", FILES)
def test_tokens_are_on_and_come_from_a_secret(name):
    spec = cluster(name)
    assert spec["authOptions"] == {"mode": "token", "secretName": "ibml-ray-token"}
    major, minor, _ = map(int, spec["rayVersion"].split("."))
    assert (major, minor) >= (2, 52)  # KubeRay refuses tokens with older ones


@pytest.mark.parametrize("name", FILES)
def test_gpu_workers_come_when_asked_for_and_go(name):
    spec = cluster(name)
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["idleTimeoutSeconds"] > 0
    (gpu,) = spec["workerGroupSpecs"]
    assert gpu["minReplicas"] == 0
    assert gpu["maxReplicas"] > 1
    resources = gpu["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == 1
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize("name", FILES)
def test_all_pods_see_one_folder_with_the_checkpoints(name):
    (claim,) = [d for d in documents("raycluster") if d["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in groups(name):
        pod = group["template"]["spec"]
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        assert mount["name"] == volume["name"]
        values = {variable["name"]: variable["value"] for variable in container["env"]}
        assert values["IBML_CHECKPOINTS"].startswith(mount["mountPath"] + "/")
        assert not [key for key in values if "TOKEN" in key or "PASSWORD" in key]


@pytest.mark.parametrize("name", FILES)
def test_nothing_can_be_reached_from_outside_the_cluster(name):
    assert cluster(name)["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster(name)["headGroupSpec"]["enableIngress"] is False
    assert {d["kind"] for d in documents(name)} <= {"RayCluster", "RayJob", "PersistentVolumeClaim"}
    for group in groups(name):
        pod = group["template"]["spec"]
        assert "hostNetwork" not in pod
        assert not [p for c in pod["containers"] for p in c.get("ports", []) if "hostPort" in p]


def test_job_and_cluster_have_the_same_pods():
    assert groups("rayjob") == groups("raycluster")


def test_the_image_has_rays_version_of_the_constraints():
    (version,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert f"FROM rayproject/ray:{version}-py311-gpu" in (CLUSTER / "Dockerfile").read_text()
    assert {cluster(name)["rayVersion"] for name in FILES} == {version}
