"""Servers instead of files: MLflow with passwords and Optuna, both on PostgreSQL."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import CommandLine, free_port
from tests.support.recorded import metrics

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.cluster]

STUDY = """\
name: tuned
base: mfeat
overrides: {trainer.epochs: 2}
design:
  type: arms
  reference: Joint
  arms: {Joint: {method.bio.weight: 0, method.tcm.rate: 0}, IBML: {}}
tune: {space: rates.yaml, trials: 2}
seeds: 2
"""
SEARCH = """\
name: rates
base: mfeat
parameters: {optimizer.lr: {low: 0.001, high: 0.1, log: true}}
sampler: {type: tpe}
trials: 2
"""
PASSWORD = "a long password of the test"


@dataclass(frozen=True)
class Servers:
    """The URIs of MLflow and of a database for Optuna."""

    mlflow: str
    optuna: str


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Start Debian's PostgreSQL as an unprivileged user; yield its URL without a database name."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("ibml[postgres] is not installed")
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    (place / "password").write_text("secret")
    for path in (place, place / "password"):
        os.chown(path, user.pw_uid, user.pw_gid)
    port, tools, data = free_port(), found[-1].parent, place / "data"
    rights = {"user": user.pw_uid, "group": user.pw_gid} if os.getuid() == 0 else {}
    made = [
        tools / "initdb",
        "-D",
        data,
        "-U",
        "ibml",
        "--auth=scram-sha-256",
        f"--pwfile={place / 'password'}",
    ]
    subprocess.run(made, cwd=place, check=True, capture_output=True, **rights)
    listening = [
        "-p",
        str(port),
        "-k",
        place,
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
    ]
    server = subprocess.Popen(
        [tools / "postgres", "-D", data, *listening], cwd=place, stderr=subprocess.DEVNULL, **rights
    )
    try:
        url = f"postgresql+psycopg://ibml:secret@127.0.0.1:{port}"
        for name in ("mlflow", "passwords", "optuna"):
            _create(url, name)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(place, ignore_errors=True)


def _create(url: str, name: str) -> None:
    import psycopg

    address, deadline = f"{url.replace('+psycopg', '')}/postgres", time.monotonic() + 30
    while True:
        try:
            connection = psycopg.connect(address, autocommit=True)
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.2)
    with connection:
        connection.execute(f"create database {name}")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def servers(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """MLflow with its basic authentication, as cluster/mlflow has it."""
    if importlib.util.find_spec("flask_wtf") is None:
        pytest.skip("mlflow[auth] is not installed")
    place = tmp_path_factory.mktemp("mlflow")
    settings = place / "basic_auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\nadmin_username = ibml\n"
        f"admin_password = {PASSWORD}\ndatabase_uri = {postgres}/passwords\n"
        "auth_cache_ttl_seconds = 60\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--app-name",
        "basic-auth",
        "--host",
        "127.0.0.1",
    ]
    command += [
        "--port",
        str(port),
        "--workers",
        "1",
        "--artifacts-destination",
        str(place / "artifacts"),
    ]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": f"{postgres}/mlflow",
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "k" * 32,
    }
    log = (place / "log").open("w")
    server = subprocess.Popen(
        command, cwd=place, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not _answers(uri):
            assert server.poll() is None, (place / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "MLflow does not answer"
            time.sleep(0.5)
        yield Servers(uri, f"{postgres}/optuna")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def _answers(uri: str) -> bool:
    try:
        urllib.request.urlopen(f"{uri}/health", timeout=2).close()
    except urllib.error.HTTPError:
        return True  # asks for a password
    except OSError:
        return False
    return True


def test_results_are_those_of_a_file(
    servers: Servers, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"MLFLOW_TRACKING_URI": servers.mlflow, "OPTUNA_STORAGE": servers.optuna}
    named |= {"MLFLOW_TRACKING_USERNAME": "ibml", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    cli.environment |= named
    (tmp_path / "file").mkdir()
    alone = CommandLine(tmp_path / "file")
    for each in (cli, alone):
        each.write("tuned.yaml", STUDY)
        each.write("rates.yaml", SEARCH)
        answer = each("ablate", "tuned.yaml")
        assert answer.code == 0, answer.err
        assert PASSWORD not in answer.out + answer.err
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    assert len(metrics(alone)) > 4
    assert metrics(cli, servers.mlflow) == metrics(alone)
    assert not list(cli.folder.glob("*.db"))


def test_a_wrong_password_is_said_in_words(servers: Servers, cli: CommandLine) -> None:
    cli.environment |= {"MLFLOW_TRACKING_URI": servers.mlflow, "MLFLOW_TRACKING_USERNAME": "ibml"}
    cli.environment |= {"MLFLOW_TRACKING_PASSWORD": "another"}
    cli.write("tuned.yaml", STUDY)
    cli.write("rates.yaml", SEARCH)
    answer = cli("ablate", "tuned.yaml")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    assert "401" in answer.err or "authenti" in answer.err
