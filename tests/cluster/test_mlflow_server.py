"""The MLflow server: only the proxy listens, with passwords that are in no file."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow.server.security_utils import is_allowed_host_header
from sqlalchemy import make_url

from tests.cluster.shipped import CLUSTER

SERVER = CLUSTER / "mlflow"


def compose() -> dict:
    return yaml.safe_load((SERVER / "compose.yaml").read_text())


def examples(name: str) -> dict[str, str]:
    lines = (SERVER / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def unit() -> str:
    return (SERVER / "mlflow.service").read_text()


def test_containers_listen_on_loopback_or_the_address_that_is_set():
    ports = {name: service.get("ports", []) for name, service in compose()["services"].items()}
    assert ports == {
        "postgres": ["127.0.0.1:5432:5432"],
        "mlflow": ["127.0.0.1:5000:5000"],
        "caddy": ["${BIND:-127.0.0.1}:443:443"],
    }
    assert not [s for s in compose()["services"].values() if "network_mode" in s]
    assert examples(".env.example")["BIND"] == "127.0.0.1"


def test_files_that_containers_read_are_there():
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose()["volumes"] or (SERVER / source).is_file()
    build = compose()["services"]["mlflow"]["build"]
    context = (SERVER / build["context"]).resolve()
    assert (context / build["dockerfile"]).resolve() == SERVER / "Dockerfile"
    for copied in re.findall(r"^COPY (\S+) ", (SERVER / "Dockerfile").read_text(), re.MULTILINE):
        assert (context / copied).is_file()


def test_every_variable_of_the_containers_is_in_the_example_and_no_secret_has_a_value():
    used = set(re.findall(r"\$\{(\w+)", (SERVER / "compose.yaml").read_text()))
    used |= {k for k, v in compose()["services"]["mlflow"]["environment"].items() if v is None}
    assert used == set(examples(".env.example"))
    for name in (".env.example", "mlflow.env.example"):
        secrets = {
            k: v for k, v in examples(name).items() if re.search("PASSWORD|SECRET|ACCESS_KEY", k)
        }
        assert len(secrets) >= 2
        assert set(secrets.values()) == {""}


def test_a_missing_password_stops_the_containers():
    text = (SERVER / "compose.yaml").read_text()
    for secret in (
        "POSTGRES_PASSWORD",
        "OPTUNA_PASSWORD",
        "MLFLOW_AUTH_ADMIN_PASSWORD",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
    ):
        uses = re.findall(rf"\$\{{{secret}[^}}]*}}", text)
        assert uses
        assert all(":?" in use for use in uses)


def test_both_servers_ask_for_passwords():
    assert compose()["services"]["mlflow"]["command"][-2:] == ["--app-name", "basic-auth"]
    (start,) = re.findall("^ExecStart=(.*)$", unit(), re.MULTILINE)
    assert start.endswith(" --app-name basic-auth")
    assert "--host 127.0.0.1 " in start


def test_mlflow_reads_the_password_apps_file(monkeypatch):
    """By MLflow's own reader, which is loaded alone since its package wants Flask-WTF."""
    path = Path(mlflow.__file__).parent / "server" / "auth" / "config.py"
    spec = importlib.util.spec_from_file_location("auth_config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(SERVER / "basic_auth.ini"))
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "from the environment")
    config = module.read_auth_config()
    assert (config.admin_username, config.admin_password) == ("admin", "from the environment")
    assert config.default_permission == "READ"
    assert config.auth_cache_ttl_seconds == 60
    monkeypatch.delenv("MLFLOW_AUTH_ADMIN_PASSWORD")
    assert (
        module.read_auth_config().admin_password is None
    )  # none in the file: MLflow refuses to start


def test_no_password_is_in_an_address():
    ini = (SERVER / "basic_auth.ini").read_text()
    addresses = [
        compose()["services"]["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"],
        examples("mlflow.env.example")["MLFLOW_BACKEND_STORE_URI"],
        *re.findall("^database_uri = (.*)$", ini, re.MULTILINE),
    ]
    assert len(addresses) == 3
    for address in map(make_url, addresses):
        assert address.drivername == "postgresql+psycopg"
        assert (address.username, address.password, address.host) == (None, None, None)
    assert {make_url(a).database for a in addresses} == {"mlflow", "mlflow_auth"}


def test_the_proxys_name_passes_mlflows_check_of_hosts_and_others_do_not():
    allowed = compose()["services"]["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"]
    hosts = re.sub(r"\$\{SERVER_NAME[^}]*}", "mlflow.example.org", allowed).split(",")
    for host in ("mlflow.example.org", "127.0.0.1:5000", "localhost:5000"):
        assert is_allowed_host_header(hosts, host)
    assert not is_allowed_host_header(hosts, "elsewhere.example.org")
    (proxied,) = re.findall("reverse_proxy (.*)", (SERVER / "Caddyfile").read_text())
    assert proxied == "mlflow:5000"
    assert "tls {$MLFLOW_TLS}" in (SERVER / "Caddyfile").read_text()


def test_optuna_has_a_database_and_a_user_of_its_own():
    script = (SERVER / "databases.sh").read_text()
    assert "CREATE DATABASE mlflow_auth;" in script
    assert "CREATE ROLE optuna LOGIN PASSWORD :'optuna_password';" in script
    assert "CREATE DATABASE optuna OWNER optuna;" in script


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
def test_systemd_takes_the_unit(tmp_path):
    here = tmp_path / "mlflow.service"
    here.write_text(
        unit().replace("/opt/ibml-mlflow/bin/mlflow", "/bin/true").replace("postgresql.service", "")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "mlflow.service" not in done.stderr, done.stderr
