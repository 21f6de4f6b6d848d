"""The shell scripts: their syntax, and what they do with stubs or real programs around them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.cluster.shipped import CLUSTER, command

SCRIPTS = sorted([*CLUSTER.rglob("*.sh"), *CLUSTER.rglob("*.sbatch")])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_shell_reads_the_script(script):
    shell = "bash" if script.suffix == ".sbatch" else "sh"
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def sourced(home: Path, *names: str) -> list[str]:
    line = f". {CLUSTER}/env.sh; for name in {' '.join(names)}; do echo ${{!name}}; done"
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(
        ["bash", "-euc", line], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_hosts_have_the_path_the_tokens_and_the_heads_own_server(tmp_path):
    path, mode, uri, storage = sourced(
        tmp_path, "PATH", "RAY_AUTH_MODE", "MLFLOW_TRACKING_URI", "OPTUNA_STORAGE"
    )
    assert path.split(":")[0] == f"{tmp_path}/ibml/.venv/bin"
    assert mode == "token"
    assert uri == "http://127.0.0.1:5000"
    assert storage == f"sqlite:///{tmp_path}/ibml-results/optuna.db"


def test_another_server_is_named_in_a_file_of_secrets(tmp_path):
    (tmp_path / ".ibml-secrets").write_text(
        "export MLFLOW_TRACKING_URI=https://mlflow.example.org\n"
    )
    assert sourced(tmp_path, "MLFLOW_TRACKING_URI") == ["https://mlflow.example.org"]


@pytest.mark.slow
def test_the_heads_mlflow_starts_once_listens_to_loopback_alone_and_stops(tmp_path):
    (tmp_path / "ibml").mkdir()
    (tmp_path / "ibml" / ".venv").symlink_to(sys.prefix)
    port = free_port()
    environment = {**os.environ, "HOME": str(tmp_path), "MLFLOW_PORT": str(port)}

    def script(verb):
        subprocess.run(
            ["sh", str(CLUSTER / "head-mlflow.sh"), verb], env=environment, check=True, timeout=60
        )

    script("start")
    leader = psutil.Process(int((tmp_path / "ibml-results" / "mlflow.pid").read_text()))
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    assert answer.status == 200
                break
            except (urllib.error.URLError, OSError):
                assert leader.is_running(), (tmp_path / "ibml-results" / "mlflow.log").read_text()
                assert time.monotonic() < deadline, (
                    tmp_path / "ibml-results" / "mlflow.log"
                ).read_text()
                time.sleep(0.5)
        script("start")
        assert int((tmp_path / "ibml-results" / "mlflow.pid").read_text()) == leader.pid
        family = [leader, *leader.children(recursive=True)]
        listening = [
            c.laddr
            for p in family
            for c in p.net_connections("inet")
            if c.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert (tmp_path / "ibml-results").stat().st_mode & 0o777 == 0o700
    finally:
        family = [leader, *leader.children(recursive=True)] if leader.is_running() else []
        try:
            script("stop")
            _, alive = psutil.wait_procs(family, timeout=30)
        finally:
            for process in filter(psutil.Process.is_running, family):
                process.kill()
    assert not alive
    assert not (tmp_path / "ibml-results" / "mlflow.pid").exists()


def down(
    tmp_path: Path, unreachable: str = ""
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run cluster/onprem-down.sh with fake `ray` and `ssh` that record their calls."""
    calls = tmp_path / "calls"
    command(tmp_path / "bin", "ray", f'echo "ray $*" >> {calls}\n')
    command(
        tmp_path / "bin",
        "ssh",
        f'echo "ssh $*" >> {calls}\ncase "$*" in *@{unreachable or "-"}\\ *) exit 255;; esac\n',
    )
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    script = ["sh", str(CLUSTER / "onprem-down.sh")]
    done = subprocess.run(
        script, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return done, calls.read_text().splitlines()


def test_own_machines_are_stopped_one_by_one_after_the_head(tmp_path):
    done, calls = down(tmp_path)
    assert done.returncode == 0, done.stderr
    assert calls[0] == f"ray down --yes {CLUSTER}/onprem.yaml"
    hosts = [next(word for word in call.split() if "@" in word) for call in calls[1:]]
    assert hosts == ["ibml@192.168.1.10", "ibml@192.168.1.11", "ibml@192.168.1.12"]
    for call in calls[1:]:
        assert f"-i {Path.home()}/.ssh/id_ed25519" in call
        assert call.endswith('"$HOME/ibml/.venv/bin/ray" stop')


def test_a_host_that_does_not_answer_is_named_and_the_others_are_stopped(tmp_path):
    done, calls = down(tmp_path, unreachable="192.168.1.11")
    assert done.returncode == 1
    assert "192.168.1.11: not stopped" in done.stderr
    assert "192.168.1.12: stopped" in done.stdout
    assert len(calls) == 4
