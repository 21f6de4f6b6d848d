"""The files for `ray up`: by Ray's own checks, and by what their commands do in a shell."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config, with_envs

from tests.cluster.shipped import CLOUDS, LAUNCHERS, command, launcher
from tests.conftest import ROOT

ALL_COMMANDS = (
    "setup_commands",
    "head_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
# What `ray up` of Ray 2.60 puts before the head's commands (get_or_create_head_node).
EXPORTED = {"RAY_enable_autoscaler_v2": "1", "RAY_NODE_TYPE_NAME": "head"}


def ray_starts(name: str, part: str, tmp_path: Path) -> list[dict]:
    """Run the file's start commands by bash, where `ray` and `sh` only say how they were called."""
    calls = tmp_path / "calls.jsonl"
    report = (
        "import json, os, sys\n"
        "told = {'arguments': sys.argv[1:], 'environment': dict(os.environ)}\n"
        f"open({str(calls)!r}, 'a').write(json.dumps(told) + '\\n')\n"
    )
    command(tmp_path / "bin", "ray", report, "/usr/bin/env python3")
    command(tmp_path / "bin", "sh", "exit 0\n")
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "RAY_HEAD_IP": "10.0.0.1",
    }
    for line in with_envs(launcher(name)[part], EXPORTED):
        subprocess.run(["bash", "-c", f"({line})"], env=environment, check=True)
    told = [json.loads(line) for line in calls.read_text().splitlines()]
    assert told[0]["arguments"] == ["stop"]
    return [call for call in told if call["arguments"][0] == "start"]


def spot(node: dict) -> bool:
    """Return whether a machine is preemptible, in the format of AWS or Google Cloud."""
    aws = node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
    return aws or node.get("scheduling", {}).get("provisioningModel") == "SPOT"


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_takes_the_file(name):
    validate_config(prepare_config(launcher(name)))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_refuses_the_file_with_a_key_it_does_not_know(name):
    config = launcher(name) | {"idle_timeout": 5}
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_head_asks_for_tokens_and_shows_the_dashboard_to_itself_alone(name, tmp_path):
    (start,) = ray_starts(name, "head_start_ray_commands", tmp_path)
    assert start["environment"]["RAY_AUTH_MODE"] == "token"
    assert "--head" in start["arguments"]
    assert "--dashboard-host=127.0.0.1" in start["arguments"]
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start["arguments"]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_workers_ask_for_tokens_and_go_to_the_head(name, tmp_path):
    (start,) = ray_starts(name, "worker_start_ray_commands", tmp_path)
    assert start["environment"]["RAY_AUTH_MODE"] == "token"
    assert "--address=10.0.0.1:6379" in start["arguments"]


def test_own_machines_are_started_by_the_autoscaler_that_brings_up_all_workers(tmp_path):
    (start,) = ray_starts("onprem", "head_start_ray_commands", tmp_path)
    assert start["environment"]["RAY_enable_autoscaler_v2"] == "0"  # although `ray up` exports 1


def test_all_own_machines_are_to_come_up():
    config = launcher("onprem")
    addresses = config["provider"]["worker_ips"]
    (kind,) = prepare_config(config)["available_node_types"].values()
    assert kind["min_workers"] == kind["max_workers"] == len(addresses) == 2


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_token_comes_by_a_file_that_its_owner_alone_reads(name):
    config = launcher(name)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert config["setup_commands"][0] == "chmod 600 ~/.ray/auth_token"


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_copied_project_can_be_installed_and_brings_no_secrets(name):
    config = launcher(name)
    copied = {
        remote: local
        for remote, local in config["file_mounts"].items()
        if remote.startswith("~/ibml/")
    }
    assert {"ibml", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= set(
        copied.values()
    )
    for remote, local in copied.items():
        assert remote == f"~/ibml/{local}"
        assert (ROOT / local).exists()
    assert ".env" in config["rsync_exclude"]
    (install,) = [line for line in config["setup_commands"] if " '.[" in line]
    assert install.startswith("cd ~/ibml && .venv/bin/pip install")
    assert "--constraint constraints.txt" in install


@pytest.mark.parametrize("name", LAUNCHERS)
def test_every_command_is_one_of_bash(name):
    config = launcher(name)
    for line in (line for part in ALL_COMMANDS for line in config.get(part, [])):
        done = subprocess.run(
            ["bash", "-n", "-c", line], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_opens_no_port_but_ssh(name):
    """Ray itself opens 22; its rules for inside the group name no addresses."""
    config = launcher(name)
    rules = config["provider"].get("security_group", {}).get("IpPermissions", [])
    assert {port for rule in rules for port in (rule["FromPort"], rule["ToPort"])} <= {22}
    for kind in config["available_node_types"].values():
        assert not {"SecurityGroupIds", "NetworkInterfaces", "networkInterfaces", "tags"} & set(
            kind["node_config"]
        )
    commands = " ".join(line for part in ALL_COMMANDS for line in config[part])
    assert "0.0.0.0" not in commands
    assert "firewall" not in commands


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_has_a_small_head_on_demand_and_spot_workers_that_come_and_go(name):
    config = prepare_config(launcher(name))
    head, gpu = config["available_node_types"]["head"], config["available_node_types"]["gpu"]
    assert head["resources"] == {"CPU": 0}
    assert (head["min_workers"], head["max_workers"]) == (0, 0)
    assert (gpu["min_workers"], gpu["max_workers"]) == (0, config["max_workers"])
    assert config["idle_timeout_minutes"] == 10
    assert [spot(kind["node_config"]) for kind in (head, gpu)] == [False, True]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_is_to_be_edited_is_said_at_the_top(name):
    """Values that a comment at the top names are there, and above all commands."""
    text = (ROOT / "cluster" / f"{name}.yaml").read_text()
    top, _, rest = text.partition("\nfile_mounts:")
    assert "# Edit only these values:" in text.splitlines()[:6]
    config = launcher(name)
    named = [
        line.split("   ")[1].split(",")[0].strip()
        for line in text.splitlines()
        if line.startswith("#   ")
    ]
    for path in (name for name in named if name and " " not in name):
        part = config
        for key in path.split("."):
            part = part[key]
        assert path.split(".")[-1] + ":" in top
    assert "_commands:" not in top
    assert "_commands:" in rest
